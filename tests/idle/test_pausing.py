"""The recipes that pause a box: real programs, a real HTTP server on loopback."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from devbox.box.watchdog import pause_recipe
from devbox.wire.codec import convert
from devbox.wire.messages import PauseRecipe

TOKEN = "hf_verysecret"


class Provider(ThreadingHTTPServer):
    """Answers with `status`; remembers what was asked."""

    status = 200
    location = ""
    silent = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[tuple[str, str, str | None, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/api/spaces/me/box/pause"


class _Handler(BaseHTTPRequestHandler):
    server: Provider

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        said = json.loads(body) if body else None
        self.server.asked.append((self.command, self.path, self.headers.get("Authorization"), said))
        if self.server.silent:
            self.close_connection = True
            return
        self.send_response(self.server.status)
        if self.server.location:
            self.send_header("Location", self.server.location)
        self.end_headers()
        self.wfile.write(f"you sent {self.headers.get('Authorization')}\x1b[2J".encode())

    do_GET = do_PUT = do_POST

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def http(url: str, **more: Any) -> PauseRecipe:
    recipe = PauseRecipe("http", url=url, **more)
    pause_recipe.check(recipe)
    return recipe


def test_the_provider_is_asked_with_the_token_of_the_environment(provider: Provider) -> None:
    recipe = http(provider.url, token_env="HF_TOKEN", body={"why": "idle"})
    outcome = pause_recipe.attempt(recipe, {"HF_TOKEN": TOKEN})
    assert outcome == (True, "HTTP 200")
    assert provider.asked == [
        ("POST", "/api/spaces/me/box/pause", f"Bearer {TOKEN}", {"why": "idle"})
    ]


def test_a_refusal_is_told_without_the_token(provider: Provider) -> None:
    provider.status = 403
    outcome = pause_recipe.attempt(http(provider.url, token_env="T"), {"T": TOKEN})
    assert not outcome.ok
    assert outcome.detail.startswith("HTTP 403: you sent Bearer …")
    assert TOKEN not in outcome.detail
    assert "\x1b" not in outcome.detail


def test_a_redirect_is_not_followed_with_the_token(provider: Provider) -> None:
    with Provider() as elsewhere:
        provider.status, provider.location = 302, elsewhere.url
        outcome = pause_recipe.attempt(http(provider.url, token_env="T"), {"T": TOKEN})
        assert not elsewhere.asked
    assert not outcome.ok
    assert "302" in outcome.detail


def test_a_missing_token_is_said_by_its_name(provider: Provider) -> None:
    outcome = pause_recipe.attempt(http(provider.url, token_env="DEVBOX_NO_SUCH"), {})
    assert not outcome.ok
    assert "DEVBOX_NO_SUCH" in outcome.detail
    assert not provider.asked


def test_a_provider_that_hangs_up_or_is_not_there_is_a_failure(provider: Provider) -> None:
    provider.silent = True
    assert not pause_recipe.attempt(http(provider.url), {}).ok
    provider.server_close()
    provider.shutdown()
    assert not pause_recipe.attempt(http("http://127.0.0.1:9/"), {}, timeout=2).ok


def test_a_program_is_run_without_a_shell(tmp_path: Path) -> None:
    file = tmp_path / "stop; touch hacked"
    recipe = PauseRecipe("exec", ("touch", str(file)))
    assert pause_recipe.attempt(recipe, {}).ok
    assert file.exists()
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["/nonexistent/program"], "No such file"),
        ([sys.executable, "-c", "import sys; sys.exit('\\x1b[31mdenied')"], "code 1: denied"),
        (["sleep", "60"], "did not end within 0 s"),
    ],
)
def test_a_program_that_fails_says_how(argv: list[str], said: str) -> None:
    outcome = pause_recipe.attempt(PauseRecipe("exec", tuple(argv)), {}, timeout=0.3)
    if argv[0] == sys.executable:
        outcome = pause_recipe.attempt(PauseRecipe("exec", tuple(argv)), {}, timeout=20)
    assert not outcome.ok
    assert said in outcome.detail


@pytest.mark.parametrize(
    "recipe",
    [
        "touch x",
        {},
        {"kind": "shell", "command": "rm"},
        {"kind": "exec"},
        {"kind": "exec", "argv": []},
        {"kind": "exec", "argv": "touch x"},
        {"kind": "exec", "argv": ["a", 1]},
        {"kind": "http"},
        {"kind": "http", "url": "ftp://host/x"},
        {"kind": "http", "url": "file:///etc/passwd"},
        {"kind": "http", "url": "http://example.com/pause"},
        {"kind": "http", "url": "http://127.0.0.1.example.com/"},
        {"kind": "http", "url": "http://127.0.0.1@example.com/"},
        {"kind": "http", "url": "https://user:pw@example.com/"},
        {"kind": "http", "url": "https://example.com/\r\nHost: evil"},
        {"kind": "http", "url": "https://example.com/", "method": "POST /x"},
        {"kind": "http", "url": "https://example.com/", "token_env": 3},
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(recipe: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - one that `arm` tells
        pause_recipe.check(convert(recipe, PauseRecipe))

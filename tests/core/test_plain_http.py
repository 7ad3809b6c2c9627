"""A token never travels over plain http to another machine, nor to another host by a redirect."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from devbox.box.address import is_loopback, is_readable
from devbox.box.checkpoints import bucket, web
from devbox.box.checkpoints.source import parse
from devbox.box.watchdog.pause_recipe import check
from devbox.errors import AuthError, DevboxError
from devbox.providers.hf.hub import Hub
from devbox.providers.modal.account import Account
from devbox.spec import HfSettings, ModalSettings
from devbox.wire.messages import PauseRecipe

FAR = "http://hub.example:8080"


class Server(http.server.ThreadingHTTPServer):
    """calls: (path, Authorization). to: where a request is redirected, '' for an answer."""

    def __init__(self, to: str = "") -> None:
        self.calls: list[tuple[str, str | None]] = []
        self.to = to
        super().__init__(("127.0.0.1", 0), Answer)


class Answer(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.calls.append((self.path, self.headers.get("Authorization")))
        self.send_response(302 if self.server.to else 200)
        if self.server.to:
            self.send_header("Location", f"{self.server.to}{self.path}")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Silent."""


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    with ExitStack() as stack:

        def make(to: str = "") -> Server:
            server = stack.enter_context(Server(to))
            thread = threading.Thread(target=server.serve_forever, args=(0.05,))
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            return server

        yield make


@pytest.fixture(autouse=True)
def tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    monkeypatch.setenv("MODAL_TOKEN_ID", "ak-mine")
    monkeypatch.setenv("MODAL_TOKEN_SECRET", "as-mine")


LOCAL = ("http://127.0.0.1", "http://127.3.2.1:80/x", "HTTP://localhost:9?q", "http://[::1]:3/")
REMOTE = (
    FAR,
    "HTTP://HUB.example",
    "http://127.0.0.1@evil.example/",
    "http://127.0.0.1\\@evil.example",
    "http://127.0.0.1.evil.example",
    "http://localhost.evil.example",
    "http:/evil.example",
    " http://evil.example",
    "http://0.0.0.0",
)


def test_what_counts_as_this_machine() -> None:
    assert [url for url in LOCAL if not is_loopback(url) or is_readable(url)] == []
    assert [url for url in REMOTE if is_loopback(url) or not is_readable(url)] == []
    assert not is_readable("https://hub.example")


def hub_token(_: Path) -> None:
    Hub(HfSettings(endpoint=FAR)).call("asking", lambda api: api.whoami())


def hub_headers(_: Path) -> None:
    Hub(HfSettings(endpoint=FAR)).headers()


def modal_client(_: Path) -> None:
    Account(ModalSettings(server_url=FAR)).client()


def checkpoint(folder: Path) -> None:
    web.fetch(parse(f"{FAR}/w", sha256="0" * 64), folder, "secret", sleep=lambda _: None)


def cloud_storage(folder: Path) -> None:
    bucket.fetch(parse("gs://weights/w"), folder, '{"type": "service_account"}')


def pause_call(_: Path) -> None:
    check(PauseRecipe("http", url=FAR, token_env="T"))


@pytest.mark.parametrize(
    "send", [hub_token, hub_headers, modal_client, checkpoint, cloud_storage, pause_call]
)
def test_no_token_over_plain_http(
    send: Callable[[Path], None], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", FAR)
    with pytest.raises((DevboxError, OSError, ValueError), match=r"http|not sent") as caught:
        send(home)
    if isinstance(caught.value, DevboxError):
        assert isinstance(caught.value, AuthError)
        assert caught.value.means == "it was not sent"


def test_public_prices_are_asked_without_the_token() -> None:
    assert "authorization" not in Hub(HfSettings(endpoint=FAR)).headers(public=True)


def test_the_hub_s_redirect_to_another_host_takes_no_token(serve: Callable[..., Server]) -> None:
    other = serve()
    first = serve(f"http://localhost:{other.server_port}")
    hub = Hub(HfSettings(endpoint=f"http://127.0.0.1:{first.server_port}"))
    with hub.session().stream(
        "GET", f"{hub.endpoint}/file", headers=hub.headers(), follow_redirects=True
    ) as reply:
        reply.read()
    assert first.calls == [("/file", "Bearer hf_mine")]
    assert other.calls == [("/file", None)]


def test_a_checkpoint_s_redirect_to_another_host_takes_no_secret(
    serve: Callable[..., Server], home: Path
) -> None:
    other = serve()
    first = serve(f"http://localhost:{other.server_port}")
    source = parse(f"http://127.0.0.1:{first.server_port}/w", sha256="0" * 64)
    web.fetch(source, home, "mine", sleep=lambda _: None)
    assert first.calls == [("/w", "Bearer mine")]
    assert other.calls == [("/w", None)]

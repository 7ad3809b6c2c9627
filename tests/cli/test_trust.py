"""A cloned project at the command line: nothing goes where its file says until it is trusted."""

from __future__ import annotations

import http.server
import os
import pty
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from devbox import spec
from tests.command_line import Devbox

TOKEN = "hf_thetokenoftheuser"
VERBS = (
    ("ls", "--all"),
    ("ls", "--refresh"),
    ("offers",),
    ("doctor",),
    ("reconcile",),
    ("config", "show"),
    ("cost",),
    ("up", "b"),
    ("up", "m"),
    ("up", "d"),
    ("deploy", "b"),
    ("sync", "up", "b"),
    ("pull-edits", "b"),
    ("image", "ls"),
    ("status", "b"),
)


class Elsewhere(http.server.ThreadingHTTPServer):
    """The address a stranger wrote into devbox.toml; it keeps what it was sent."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        super().__init__(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server_port}"


class Answer(http.server.BaseHTTPRequestHandler):
    server: Elsewhere

    def do_GET(self) -> None:
        self.server.calls.append(f"{self.command} {self.path} {self.headers.get('Authorization')}")
        self.send_error(404)

    do_POST = do_HEAD = do_PRI = do_PUT = do_GET

    def log_message(self, *_: object) -> None:
        """Silent."""


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    server = Elsewhere()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def cloned(project: Path, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose file sends every provider to the stranger's address."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("MODAL_TOKEN_ID", "ak-mine")
    monkeypatch.setenv("MODAL_TOKEN_SECRET", "as-mine")
    (project / "devbox.toml").write_text(
        f'[providers.hf]\nendpoint = "{elsewhere.url}"\ngit_endpoint = "{elsewhere.url}"\n'
        f'[providers.modal]\nserver_url = "{elsewhere.url}"\n'
        f'[providers.docker]\ndocker_host = "{elsewhere.url.replace("http", "tcp")}"\n'
        '[boxes.b]\nprovider = "hf-space"\n[boxes.m]\nprovider = "modal"\n'
        '[boxes.d]\nprovider = "docker"\n[boxes.j]\nprovider = "hf-job"\n'
    )
    return project


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_no_verb_contacts_the_address_of_a_cloned_file(
    verb: tuple[str, ...], cloned: Path, elsewhere: Elsewhere, devbox: Devbox
) -> None:
    assert "Usage:" not in devbox(*verb).err
    assert elsewhere.calls == []


def test_the_address_is_used_once_it_is_trusted(
    cloned: Path, elsewhere: Elsewhere, devbox: Devbox
) -> None:
    refused = devbox("up", "b")
    assert refused.code == 15
    assert f"providers.hf.endpoint = {elsewhere.url}" in refused.err
    command = refused.err.rpartition("devbox trust ")[2].split()
    assert devbox("trust", *command).code == 0
    devbox("up", "b")
    assert any(TOKEN in call for call in elsewhere.calls)


def test_verbs_that_need_no_withheld_setting_work(cloned: Path, devbox: Devbox) -> None:
    assert devbox("ls").code == 0
    assert devbox("cost").code == 0
    assert devbox("config", "show").code == 0
    assert "left out until you trust it" in devbox("config", "show").err


def test_trust_shows_exactly_the_lines(project: Path, devbox: Devbox) -> None:
    file = project / "devbox.toml"
    file.write_text('[boxes.b]\nprovider = "ssh"\nhardware = "x"\nhost = "lab"\n')
    shown = devbox("trust", "--show", "--json").data
    assert (shown["trusted"], shown["lines"]) == (False, {"boxes.b.host": "lab"})
    assert "pass --yes" in devbox("trust").err
    done = devbox("trust", "--yes")
    assert done.out == f"# {file}\nboxes.b.host = lab\n"
    assert devbox("trust", "--show", "--json").data["trusted"]
    assert devbox("trust", "--revoke").code == 0
    assert not devbox("trust", "--show", "--json").data["trusted"]


def test_nothing_to_trust(project: Path, devbox: Devbox) -> None:
    assert devbox("trust").code == 4
    devbox("init")
    assert "nothing that needs trust" in devbox("trust").err


@pytest.mark.parametrize("answer", ["y", "n"])
def test_a_terminal_is_asked_with_the_lines(answer: str, project: Path) -> None:
    file = project / "devbox.toml"
    file.write_text('[boxes.b]\nprovider = "ssh"\nhost = "no such target"\n')
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-m", "devbox.cli.main", "up", "b"])
    os.write(terminal, f"{answer}\n".encode())
    seen = b""
    with suppress(OSError):
        while data := os.read(terminal, 4096):
            seen += data
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(terminal)
    assert b"boxes.b.host = no such target" in seen
    assert b"Trust these lines? [y/N]" in seen
    assert code == (2 if answer == "y" else 15), seen.decode()
    assert bool(spec.load(file).withheld) is (answer == "n")

"""`devbox ssh`, `exec`, `forward`, `code` and `ssh-config` as a user runs them."""

from __future__ import annotations

import http.server
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from devbox import paths, process
from devbox.cli.main import cli
from devbox.errors import SshError, UsageError
from devbox.model import Box, BoxState
from devbox.remote import editor, forward
from devbox.remote.config import include, ssh_config
from devbox.state.store import Store
from tests import warm
from tests.boxes import rewrite
from tests.remote.sshd import Sshd, box_at, free_port, make_box, wait_until
from tests.remote.test_connection import HOSTILE

DEVBOX = [sys.executable, "-m", "devbox.cli.main"]


@pytest.fixture
def box(sshd: Sshd, home: Path, monkeypatch: pytest.MonkeyPatch) -> Box:
    """A tracked, published, running box; the current folder is the empty HOME."""
    monkeypatch.chdir(home)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    box = sshd.box()
    track(box)
    ssh_config.publish([box])
    return box


def track(box: Box) -> None:
    store = Store.open()
    store.boxes.insert(box, "running", {}, 1.0)
    store.close()


def change(box: Box, **fields: object) -> None:
    store = Store.open()
    rewrite(store, msgspec.structs.replace(box, **fields))
    store.close()


def devbox(*argv: str, input: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    return warm.run(
        [*DEVBOX, *argv], capture_output=True, timeout=60, check=False, input=input or b""
    )


def test_exec_passes_streams_code_and_input(box: Box) -> None:
    done = devbox("exec", box.name, "sh", "-c", "cat; echo err >&2; exit 42", input=b"a\0b\xff")
    assert (done.returncode, done.stdout, done.stderr) == (42, b"a\0b\xff", b"err\n")
    assert devbox("exec", box.name, "true").returncode == 0


@pytest.mark.parametrize("verb", [["exec"], ["ssh"], ["exec", "-t"]])
def test_a_command_without_a_box_runs_on_the_only_one(box: Box, verb: list[str]) -> None:
    words = ["--", "printf", "%s", "from-there"]
    done = subprocess.run([*DEVBOX, *verb, *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "from-there"), done.stderr
    change(box, state=BoxState.TERMINATED)
    done = subprocess.run([*DEVBOX, *verb, *words], capture_output=True, text=True, check=False)
    assert done.returncode not in (0, 255)
    assert "name a box" in done.stderr


def test_exec_leaves_signals_as_they_were(box: Box) -> None:
    """What is asked after it, such as what became of the box, can be interrupted."""
    numbers = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    assert CliRunner().invoke(cli, ["exec", box.name, "true"]).exit_code == 0
    assert [signal.getsignal(number) for number in numbers] == before


def test_exec_arguments_arrive_unchanged(box: Box) -> None:
    words = [*HOSTILE, "--help", "-t", "--", "--json", "-h"]
    done = devbox("exec", box.name, "--", "printf", "%s\\0", *words)
    assert done.stdout.decode().split("\0")[:-1] == words
    raw = warm.run(
        [*DEVBOX, "exec", box.name, "printf", "%s", b"\xff\xfe"], capture_output=True, check=True
    )
    assert raw.stdout == b"\xff\xfe"


def test_exec_refuses_what_cannot_be_passed(box: Box) -> None:
    done = devbox("exec", box.name, "echo", *["x" * 100_000] * 2)
    assert done.returncode == 2
    assert b"cannot be passed to ssh" in done.stderr
    assert devbox("exec", box.name, "--").returncode == 2
    assert devbox("exec", box.name).returncode == 2


@pytest.mark.parametrize(
    ("state", "code", "said"),
    [
        (BoxState.PAUSED, 5, b"devbox resume one"),
        (BoxState.STARTING, 5, b"devbox status one --wait"),
        (BoxState.FAILED, 5, b"devbox status one"),
        (BoxState.TERMINATED, 4, b"devbox up one"),
    ],
)
@pytest.mark.parametrize("verb", [["exec", "one", "true"], ["ssh", "one"], ["code", "one"]])
def test_a_box_that_is_not_running(
    box: Box, verb: list[str], state: BoxState, code: int, said: bytes
) -> None:
    change(box, state=state)
    done = devbox(*verb)
    assert (done.returncode, done.stdout) == (code, b"")
    assert said in done.stderr


def test_boxes_that_do_not_exist(home: Path) -> None:
    del home
    assert devbox("exec", "nobody", "true").returncode == 4
    assert devbox("ssh").returncode == 4
    for name in HOSTILE[:6]:
        assert devbox("exec", name, "true").returncode == 2, name


def test_exec_restores_a_lost_config(box: Box) -> None:
    paths.ssh_config().unlink()
    assert devbox("exec", box.name, "echo", "back").stdout == b"back\n"


def test_ssh_gives_a_terminal(box: Box) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [*DEVBOX, "ssh"])
    seen = b""
    os.write(terminal, b"tty && echo si''ze=$(stty size); exit 7\n")
    with suppress(OSError):
        while data := os.read(terminal, 4096):
            seen += data
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert b"/dev/pts/" in seen
    assert b"size=" in seen
    os.close(terminal)
    assert box.name == "one"


@pytest.fixture
def served(home: Path) -> Iterator[int]:
    """The port of a web server that stands for one on the box."""

    class Hello(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"hello from the box")

        def log_message(self, *_: object) -> None:
            """Silent."""

    del home
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hello)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def _forwarding(*argv: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*DEVBOX, "forward", *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_forward_until_interrupted(box: Box, served: int, number: signal.Signals) -> None:
    local = free_port()
    process = _forwarding(box.name, f"{local}:{served}", "--json")
    assert process.stdout is not None
    told = json.loads(process.stdout.readline())
    assert told == {
        "version": 1, "kind": "forward", "box": "one", "host": "127.0.0.1",
        "local": local, "remote": served,
    }  # fmt: skip
    with urllib.request.urlopen(f"http://127.0.0.1:{local}/") as answer:
        assert answer.read() == b"hello from the box"
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert err.decode().endswith("forward ended\n")
    assert not _open(local)
    again = _forwarding(box.name, f"{local}:{served}")
    assert again.stdout is not None
    assert again.stdout.readline() == f"127.0.0.1:{local}\n".encode()
    again.kill()
    again.communicate()
    # Killed outright, it leaves the forward to the shared connection; a new one takes it over.
    third = _forwarding(box.name, f"{local}:{served}", "--quiet")
    assert third.stdout is not None
    assert third.stdout.readline() == f"127.0.0.1:{local}\n".encode()
    third.send_signal(signal.SIGINT)
    assert third.communicate(timeout=60)[1] == b""


def test_forward_says_when_the_port_is_taken(box: Box, served: int) -> None:
    done = devbox("forward", box.name, f"{served}:{served}")
    assert done.returncode == 5
    assert done.stdout == b""
    assert f"port {served} of this machine is in use".encode() in done.stderr
    assert f"devbox forward one {served + 1}:{served}".encode() in done.stderr


def test_forward_ends_with_the_box(box: Box, sshd: Sshd, served: int) -> None:
    process = _forwarding(box.name, f"{free_port()}:{served}")
    assert process.stdout is not None
    assert process.stdout.readline()
    sshd.stop()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 9
    assert b"the forward with it" in err


def test_forward_to_a_box_that_does_not_answer(home: Path, sshd: Sshd) -> None:
    del home
    box = box_at(free_port(), sshd.host_key)
    track(box)
    ssh_config.publish([box])
    done = devbox("forward", "one", "8888")
    assert done.returncode == 9
    assert b"box one cannot be reached: ssh: connect to host" in done.stderr


@pytest.mark.parametrize(
    "text",
    ["", ":", "0", "65536", "-1", "80:", ":80", "1:2:3", "0.0.0.0:80:80", "a", "80 ", "80\n",
     "٣", "1e3", "-oProxyCommand=x", "8" * 10_000, "80:0", "+80", "0x50", "127.0.0.1:80"],
)  # fmt: skip
def test_ports_are_validated(text: str) -> None:
    with pytest.raises(UsageError):
        forward.parse(text)


def test_ports_are_read() -> None:
    assert forward.parse("8888") == (8888, 8888)
    assert forward.parse("9000:8888") == (9000, 8888)


LINKS = {
    "code": "vscode://vscode-remote/ssh-remote+devbox-one{path}",
    "cursor": "cursor://vscode-remote/ssh-remote+devbox-one{path}",
    "windsurf": "windsurf://vscode-remote/ssh-remote+devbox-one{path}",
    "zed": "zed://ssh/devbox-one{path}",
}
CALLS = {
    "code": "--folder-uri vscode-remote://ssh-remote+devbox-one{path}",
    "cursor": "--folder-uri vscode-remote://ssh-remote+devbox-one{path}",
    "windsurf": "--folder-uri vscode-remote://ssh-remote+devbox-one{path}",
    "zed": "ssh://devbox-one{path}",
}


@pytest.mark.parametrize("name", list(LINKS))
def test_code_prints_the_link_and_opens_the_editor(
    box: Box, home: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    called = _fake_program(home, monkeypatch, name)
    # The work folder is below the login folder, which is the account's, not this test's HOME.
    login = devbox("exec", box.name, "pwd").stdout.decode().strip()
    done = devbox("code", "--editor", name)
    assert done.stdout.decode() == LINKS[name].format(path=f"{login}/work") + "\n", done.stderr
    assert called.read_text() == CALLS[name].format(path=f"{login}/work") + "\n"
    assert include.installed()
    assert b"undo: devbox ssh-config --remove" in done.stderr
    assert devbox("code", "--editor", name, "-q").stderr == b""


def test_code_print_changes_nothing(box: Box, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called = _fake_program(home, monkeypatch, "code")
    change(box, workdir="/data/my work & más#1")
    done = devbox("code", "--print", "--json")
    assert json.loads(done.stdout) == {
        "version": 1,
        "kind": "code",
        "box": "one",
        "editor": "code",
        "path": "/data/my work & más#1",
        "link": "vscode://vscode-remote/ssh-remote+devbox-one/data/my%20work%20%26%20m%C3%A1s%231",
        "opened": False,
    }
    assert not called.exists()
    assert not include.installed()


def test_code_hands_the_link_to_the_desktop(
    box: Box, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(box, workdir="/w")
    called = _fake_program(home, monkeypatch, "xdg-open")
    done = devbox("code", "--json", "--editor", "cursor")
    assert json.loads(done.stdout)["opened"] is True
    wait_until(called.exists, "xdg-open was called")
    wait_until(lambda: called.read_text().endswith("\n"), "xdg-open wrote its arguments")
    assert called.read_text() == "cursor://vscode-remote/ssh-remote+devbox-one/w\n"


def test_code_without_any_opener_still_prints(
    box: Box, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(box, workdir="/w")
    _only_these_programs(home, monkeypatch)
    done = devbox("code")
    assert (done.returncode, done.stdout) == (0, LINKS["code"].format(path="/w").encode() + b"\n")
    assert b"open the link yourself" in done.stderr


def test_code_with_a_failing_editor_prints_and_fails(
    box: Box, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(box, workdir="/w")
    _fake_program(home, monkeypatch, "code", "echo broken >&2; exit 3")
    done = devbox("code")
    assert (done.returncode, done.stdout) == (9, LINKS["code"].format(path="/w").encode() + b"\n")
    assert b"code ended with code 3: broken" in done.stderr
    assert devbox("code", "--editor", "ed").returncode == 2


def test_a_box_that_lies_about_its_folder_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for answer in ["", "relative", "/a/../b", "/a\nb", "/\x1b[2J"]:
        monkeypatch.setattr(process, "run", lambda *_, a=answer, **__: process.Completed(0, a, ""))
        with pytest.raises((UsageError, SshError)):
            editor.workdir(make_box())


def test_ssh_config_shows_installs_and_removes(box: Box, home: Path) -> None:
    shown = devbox("ssh-config")
    assert shown.stdout == paths.ssh_config().read_bytes()
    assert b"does not include" in shown.stderr
    installed = json.loads(devbox("ssh-config", "--install", "--json").stdout)
    assert installed["changed"] is installed["installed"] is True
    assert installed["user_config"] == str(home / ".ssh" / "config")
    assert f"Host {box.alias}" in installed["text"]
    assert json.loads(devbox("ssh-config", "--install", "--json").stdout)["changed"] is False
    through_theirs = subprocess.run(
        ["ssh", "-F", home / ".ssh" / "config", box.alias, "echo hi"],
        capture_output=True,
        check=False,
    )
    assert through_theirs.stdout == b"hi\n"
    removed = json.loads(devbox("ssh-config", "--remove", "--json").stdout)
    assert (removed["changed"], removed["installed"]) == (True, False)
    assert not (home / ".ssh" / "config").exists()


def test_exec_and_ssh_import_little(box: Box) -> None:
    script = (
        "import os, sys\n"
        "os.posix_spawnp = lambda *_, **__: (_ for _ in ()).throw(SystemExit(0))\n"
        "sys.argv = ['devbox', 'exec', 'one', 'true']\n"
        "from devbox.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: print(*sorted(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    loaded = set(done.stdout.decode().split())
    assert "devbox.remote.command" in loaded, done.stderr
    heavy = {
        "fabric", "paramiko", "invoke", "cryptography", "asyncssh", "asyncio", "filelock",
        "huggingface_hub", "modal", "docker", "rich", "textual", "subprocess", "logging",
        "devbox.spec", "devbox.workspace", "devbox.providers", "devbox.lifecycle",
        "devbox.process", "devbox.model", "devbox.names", "msgspec", "json", "hashlib",
        "urllib.request", "http.client", "tomllib",
    }  # fmt: skip
    assert loaded & heavy == set()
    assert box.state is BoxState.RUNNING


def _fake_program(home: Path, monkeypatch: pytest.MonkeyPatch, name: str, script: str = "") -> Path:
    """A program of that name on PATH that writes its arguments into the returned file."""
    folder = _only_these_programs(home, monkeypatch)
    called = home / "called"
    body = script or f'printf "%s\\n" "$*" > "{called}"'
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)
    return called


def _only_these_programs(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with ssh and a shell, and no editor or desktop of the machine that runs the tests."""
    folder = home / "bin"
    folder.mkdir(exist_ok=True)
    for name in ("ssh", "ssh-keygen", "sh"):
        found = next(
            Path(p) / name for p in os.environ["PATH"].split(":") if (Path(p) / name).exists()
        )
        (folder / name).symlink_to(found)
    monkeypatch.setenv("PATH", str(folder))
    return folder


def _open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0

"""`devbox ssh`, `exec` and `ssh-config` as a user runs them."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner

from devbox import paths
from devbox.cli.main import cli
from devbox.model import Box, BoxState
from tests import warm
from tests.remote.conftest import DEVBOX, change, devbox
from tests.remote.test_connection import HOSTILE


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

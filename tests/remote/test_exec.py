"""Programs of a box over the ssh client and the connection it shares, on a real OpenSSH server."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from devbox.errors import HostKeyRefused, KeyRefused, NameUnknown, NoAnswer, SshError, UsageError
from devbox.jobs import transfer
from devbox.model import Box
from devbox.remote import exec, refusal
from devbox.remote.config import ssh_config
from devbox.remote.exec import Exec, Program, read
from devbox.spec import Spec
from devbox.sync.rsync_process import Job
from devbox.workspace import Workspace
from tests.processes import send
from tests.remote.sshd import Sshd, box_at, make_box, wait_until
from tests.remote.test_connection import HOSTILE


@pytest.fixture
def box(sshd: Sshd) -> Box:
    box = sshd.box()
    ssh_config.publish([box])
    return box


def test_a_program_gets_its_words_and_input_and_gives_code_and_streams(box: Box) -> None:
    script = 'cat; printf "%s\\0" "$@" >&2; exit 3'
    done = Exec(box).run(["sh", "-c", script, "sh", *HOSTILE[:10]], input=b"in\0", check=False)
    assert (done.code, done.out) == (3, "in\0")
    assert done.err.split("\0")[:-1] == HOSTILE[:10]
    with pytest.raises(SshError, match=r"sh on one ended with code 4: no luck"):
        Exec(box).run(["sh", "-c", "echo no luck >&2; exit 4"])


def test_a_program_that_ignores_its_input_or_closes_its_output_is_waited_for(box: Box) -> None:
    assert Exec(box).run(["true"], input=b"x" * 9_000_000).code == 0
    script = "exec >&- 2>&-; sleep 0.3; exit 7"
    assert Exec(box).run(["sh", "-c", script], check=False).code == 7


def test_a_program_that_was_started_early_waits_for_its_request(box: Box) -> None:
    with Program(box, ["sh", "-c", "echo early; exec cat"]) as program:
        found = program.chunks()
        assert next(filter(None, found)) == b"early\n"
        assert program.finish(b"late") == (0, b"late")


def test_what_a_box_sends_and_how_long_it_takes_are_bounded(box: Box) -> None:
    with Program(box, ["yes"]) as program, pytest.raises(SshError, match="printed over"):
        program.finish(most=100_000)
    with pytest.raises(SshError, match="did not finish within 0 s"):
        Exec(box).run(["sleep", "30"], timeout=0.4)
    done = Exec(box).run(["sh", "-c", "yes | head -c 50000000 >&2; echo end >&2"])
    assert len(done.err) < 10_000
    assert done.err.endswith("end\n")


def test_of_what_was_left_unread_the_end_is_kept(box: Box) -> None:
    script = "head -c 60000 /dev/zero | tr '\\0' y >&2; echo end >&2"
    with Program(box, ["sh", "-c", script]) as program:
        wait_until(lambda: not program.is_alive, "it has ended")
    assert program.err.endswith("yend\n")
    assert len(program.err) < 10_000


def test_a_file_is_read_byte_for_byte_or_says_why_not(box: Box, home: Path) -> None:
    data = os.urandom(700_000)
    (home / "it's.bin").write_bytes(data)
    assert read(box, str(home / "it's.bin"), most=len(data)) == data
    with pytest.raises(UsageError):
        read(box, "../escape", most=1)
    with pytest.raises(SshError, match="No such file"):
        read(box, str(home / "missing"), most=1)
    with pytest.raises(SshError, match="printed over"):
        read(box, str(home / "it's.bin"), most=1000)


def test_what_a_login_shell_prints_is_told_apart(sshd: Sshd, home: Path) -> None:
    box = sshd.box()
    ssh_config.publish([box])
    file = sshd.folder / "authorized_keys"
    greeting = 'command="echo hello; sh -c \\"$SSH_ORIGINAL_COMMAND\\"" '
    file.write_text(greeting + file.read_text())
    line = Exec(box)
    assert line.run(["echo", "own"]).out == "own\n"
    assert line.noise == b"hello\n"


def test_each_refusal_has_its_own_error(sshd: Sshd, box: Box) -> None:
    sshd.authorise()
    with pytest.raises(KeyRefused, match="does not accept the key") as caught:
        Exec(box).run(["true"])
    assert caught.value.box == box.id
    sshd.stop()
    with pytest.raises(NoAnswer, match="Connection refused"):
        Exec(box).run(["true"])
    sshd.new_host_key()
    sshd.start()
    with pytest.raises(HostKeyRefused, match="pinned host key") as changed:
        Exec(box).run(["true"])
    assert "nothing was sent" in changed.value.means
    with pytest.raises(NameUnknown):
        Exec(box_at(sshd.port, None, "other")).run(["true"])
    with pytest.raises(NoAnswer, match="no ssh address yet"):
        Exec(make_box("other"))


def test_a_cut_is_told_from_a_box_that_was_not_reached(sshd: Sshd, box: Box, home: Path) -> None:
    begun = home / "begun"

    def stop() -> None:
        wait_until(begun.exists, "the program runs")
        sshd.stop()

    stopper = threading.Thread(target=stop)
    stopper.start()
    with pytest.raises(NoAnswer, match="was cut while running sh"):
        Exec(box).run(["sh", "-c", f"touch {begun}; sleep 60"])
    stopper.join()


def test_a_shared_connection_that_hangs_is_passed_by_and_replaced(
    sshd: Sshd, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a computer's sleep: the background process lives, and its network does not. What
    comes next, such as rsync, does not wait for it."""
    Exec(box).run(["true"])
    assert sshd._process
    hung = psutil.Process(sshd._process.pid).children(recursive=True)
    for process in hung:
        send(process, signal.SIGSTOP)
    tried: list[bool] = []

    def started(box: Box, argv: Sequence[str], options: Sequence[str]) -> Program:
        tried.append("ControlPath=none" in options)
        monkeypatch.setattr(exec, "_LOGIN", 30.0 if tried[-1] else 1.0)
        return Program(box, argv, options=options)

    monkeypatch.setattr(exec, "Program", started)
    assert Exec(box).run(["echo", "still here"]).out == "still here\n"
    assert tried == [False, True]
    monkeypatch.setattr(exec, "Program", Program)
    monkeypatch.setattr(exec, "_LOGIN", 30.0)
    monkeypatch.setattr(exec, "_ALONE", ("-o", "ProxyCommand=false"))
    assert Exec(box).run(["echo", "at once"]).out == "at once\n"
    for process in hung:
        send(process, signal.SIGCONT)


def test_a_transfer_that_stands_still_continues_over_another_connection(
    sshd: Sshd, box: Box, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Exec(box).run(["true"])
    assert sshd._process
    hung = psutil.Process(sshd._process.pid).children(recursive=True)
    for process in hung:
        send(process, signal.SIGSTOP)
    monkeypatch.setattr(transfer, "_SILENCE", 5)
    (home / "here").mkdir()
    (home / "here/file").write_text("all of it")
    ws = Workspace(Spec(), sleep=lambda _: None)
    job = Job(box, home / "here", str(home / "there"), True)
    transfer.transfer(ws, job, total=None)
    assert (home / "there/file").read_text() == "all of it"
    for process in hung:
        send(process, signal.SIGCONT)


@pytest.mark.parametrize(
    ("err", "why"),
    [
        ("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.",
         refusal.Refusal.HOST_KEY_CHANGED),
        ("No ED25519 host key is known for x and you have requested strict checking.",
         refusal.Refusal.HOST_KEY_UNKNOWN),
        ("u@x: Permission denied (publickey).", refusal.Refusal.KEY),
        ("ssh: Could not resolve hostname x: Name or service not known", refusal.Refusal.NAME),
        ("ssh: connect to host x port 22: Connection refused", refusal.Refusal.UNREACHED),
        ("Connection reset by peer", refusal.Refusal.CUT),
        ("", refusal.Refusal.CUT),
    ],
)  # fmt: skip
def test_what_ssh_says_is_read_by_one_table(err: str, why: refusal.Refusal) -> None:
    assert refusal.of(err) is why


def test_waits_grow_to_a_bound() -> None:
    assert [refusal.wait(n) for n in (0, 1, 2, 3, 7, 99)] == [0.0, 0.0, 0.5, 1.0, 15.0, 15.0]

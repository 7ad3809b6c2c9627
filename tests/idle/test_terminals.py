"""Terminals: who typed, and lines for those who look."""

from __future__ import annotations

import os
import pty
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from devbox.box.probes.terminals import SHARED, Terminals
from tests.jobs.conftest import until


class Pty:
    """A pseudo-terminal whose program reads whatever is typed, as a shell does."""

    def __init__(self) -> None:
        self.master, self.slave = pty.openpty()
        self.path = Path(os.ttyname(self.slave))
        self.seen = b""
        self._threads = [
            threading.Thread(target=self._read, args=(end,), daemon=True)
            for end in (self.master, self.slave)
        ]

    def attend(self) -> None:
        for thread in self._threads:
            thread.start()

    def _read(self, end: int) -> None:
        while True:
            try:
                data = os.read(end, 4096)
            except OSError:
                return
            if end == self.master:
                self.seen += data


@pytest.fixture
def terminal() -> Iterator[Pty]:
    made = Pty()
    yield made
    os.close(made.master)
    os.close(made.slave)


def test_a_line_reaches_the_terminal_cleaned_and_bounded(terminal: Pty) -> None:
    terminal.attend()
    assert terminal.path in Terminals().mine(0.0)
    assert Terminals().say("pauses in 5m\n\x1b]0;evil\x07" + "x" * 5000) >= 1
    until(lambda: b"pauses in 5m" in terminal.seen)
    assert terminal.seen.startswith(b"\r")
    assert b"\x1b" not in terminal.seen
    assert len(terminal.seen) < 500


def test_a_terminal_that_nobody_reads_does_not_stop_the_others(terminal: Pty) -> None:
    os.set_blocking(terminal.slave, False)
    with suppress(BlockingIOError):
        while True:
            os.write(terminal.slave, b"x" * 4096)
    other = Pty()
    other.attend()
    assert Terminals().say("still here") >= 1
    until(lambda: b"still here" in other.seen)
    os.close(other.master)
    os.close(other.slave)


def test_typing_moves_the_time_of_the_latest_input(terminal: Pty) -> None:
    terminal.attend()
    # The kernel moves the time only when it is more than eight seconds behind.
    os.utime(terminal.path, (1_000_000_000, 1_000_000_000))
    before = terminal.path.stat().st_atime
    assert before == 1_000_000_000
    os.write(terminal.master, b"ls\n")
    until(lambda: terminal.path.stat().st_atime > before)
    found = Terminals().look(0.0)
    assert found is not None
    assert (found["count"] or 0) >= 1
    assert (found["input_at"] or 0.0) > before


def test_writing_to_a_terminal_is_not_input(terminal: Pty) -> None:
    terminal.attend()
    os.utime(terminal.path, (1_000_000_000, 1_000_000_000))
    Terminals().say("a warning")
    until(lambda: b"a warning" in terminal.seen)
    assert terminal.path.stat().st_atime == 1_000_000_000


def test_where_terminals_cannot_be_seen_nothing_is_said_of_them(tmp_path: Path) -> None:
    assert Terminals(tmp_path / "none").look(0.0) is None
    (tmp_path / "7").write_text("not a terminal")
    assert Terminals(tmp_path).look(0.0) == {"count": 0, "input_at": None}
    assert Terminals(tmp_path).say("hello") == 0


def test_on_a_shared_machine_only_the_boxs_own_terminals_count(terminal: Pty) -> None:
    own = Pty()
    program = subprocess.Popen(
        ["sleep", "60"], stdin=own.slave, env={**os.environ, SHARED: "box-one"}
    )
    try:
        # Popen returns once the program replaces ours, before its environment can be read.
        until(lambda: psutil.Process(program.pid).environ().get(SHARED) == "box-one")
        box = Terminals(shared="box-one")
        assert box.mine(0.0) == [own.path]
        assert Terminals(shared="box-two").mine(0.0) == []
    finally:
        program.kill()
        program.wait()
    assert box.mine(5.0) == [own.path]
    assert box.mine(11.0) == []
    os.close(own.master)
    os.close(own.slave)

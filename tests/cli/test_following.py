"""What ends a verb that shows something: Ctrl-C where SIGINT was ignored, a closed terminal, a pipe
that nobody reads."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from devbox.cli import top_view
from devbox.cli.run_view import watch
from devbox.jobs.follow import Line, Message, Note
from devbox.telemetry.live import LiveTelemetry

FOLLOW = """\
import asyncio, os, sys, time
from devbox.cli.following import following

def forever():
    os.write(2, b"begun\\n")
    time.sleep(600)

async def also():
    forever_ = asyncio.get_running_loop().create_future()
    os.write(2, b"begun\\n")
    await forever_

try:
    with following():
        asyncio.run(also()) if "async" in sys.argv else forever()
except KeyboardInterrupt:
    sys.exit(3)
except BrokenPipeError:
    sys.stderr.close()
    os._exit(4)
"""


@contextmanager
def follower(
    way: str, stdout: int, ignored: bool, session: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    """A follower that has begun. ignored: as a shell leaves SIGINT and SIGHUP for `nohup … &`."""
    trap = "trap '' INT HUP; " if ignored else ""
    process = subprocess.Popen(
        ["sh", "-c", f'{trap}exec "$0" -c "$1" "$2"', sys.executable, FOLLOW, way],
        stdout=stdout,
        stderr=subprocess.PIPE,
        start_new_session=session,
    )
    assert process.stderr is not None
    try:
        assert process.stderr.readline() == b"begun\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


WAYS = pytest.mark.parametrize("way", ["plain", "async"])
IGNORED = pytest.mark.parametrize("ignored", [False, True])


@WAYS
@IGNORED
def test_ctrl_c_ends_it_whatever_the_parent_had(way: str, ignored: bool) -> None:
    with follower(way, subprocess.DEVNULL, ignored) as process:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 3


@WAYS
@IGNORED
def test_a_pipe_without_a_reader_ends_it_though_nothing_is_written(way: str, ignored: bool) -> None:
    reading, writing = os.pipe()
    with follower(way, writing, ignored) as process:
        os.close(writing)
        os.close(reading)
        assert process.wait(60) == 4


@WAYS
@IGNORED
def test_a_closed_terminal_ends_it(way: str, ignored: bool) -> None:
    terminal, line = pty.openpty()
    with follower(way, line, ignored, session=True) as process:
        os.close(line)
        os.close(terminal)
        assert process.wait(60) == 4


@WAYS
def test_a_hang_up_leaves_what_nohup_sends_to_a_file(way: str) -> None:
    with open(os.devnull, "w") as file, follower(way, file.fileno(), ignored=True) as process:
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 3


def test_a_long_line_in_pieces_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    pieces = [Line("x" * 32768, "", 0) for _ in range(6)]
    messages: list[Message] = [
        *pieces,
        Line("end", "\n", 0),
        Line("redrawn", "", 0),
        Line("", "\r", 0),
    ]
    messages += [Note("told"), Line("last", "", 0)]
    watch(messages, "job", quiet=False, clock=lambda: 0.0)
    assert [len(line) for line in capsys.readouterr().err.splitlines()] == [6 * 32768 + 3, 4, 4]


def test_a_line_is_cut_by_cells_not_by_characters() -> None:
    from rich.cells import cell_len

    cell = LiveTelemetry("b")
    cell.error = "箱の中の誤り" * 20
    for row in top_view.lines(cell, 0.0, width=41):
        assert cell_len("".join(text for text, _ in row)) <= 41
    assert "…" in top_view.plain(top_view.lines(cell, 0.0, width=41))

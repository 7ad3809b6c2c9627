"""Programs run to their end within bounds of time and output."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from queue import Queue
from typing import IO

import pytest

from devbox import process
from devbox.errors import DevboxError


def test_what_it_printed_and_its_code_come_back() -> None:
    code = "import sys; sys.stderr.write('e'); print(sys.stdin.read()); sys.exit(3)"
    done = process.run([sys.executable, "-c", code], input=b"in", check=False)
    assert done == (3, "in\n", "e")
    assert process.output(["printf", "\\377"]) == b"\xff"
    assert process.run(["cat"]).out == "", "its stdin is empty where none is given"


@pytest.mark.parametrize("stream", ["", " >&2"])
def test_a_program_that_prints_without_end_is_stopped(
    monkeypatch: pytest.MonkeyPatch, stream: str
) -> None:
    monkeypatch.setattr(process, "MAX_OUTPUT", 100_000)
    with pytest.raises(DevboxError, match="sh printed over"):
        process.run(["sh", "-c", f"yes{stream}"], timeout=60)


def test_an_input_that_is_not_read_is_no_error() -> None:
    assert process.run(["true"], input=b"x" * 5_000_000).code == 0


def test_an_input_that_comes_after_the_end_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine the program may be gone before its input was written."""
    late = threading.Event()

    def feed(stream: IO[bytes], data: bytes) -> None:
        late.wait(0.1)
        with suppress(BrokenPipeError):
            stream.write(data)

    monkeypatch.setattr(process, "_feed", feed)
    done = process.finished(["sh", "-c", "exec 0<&-; sleep 0.3; exit 7"], input=b"x")
    assert done.returncode == 7


def test_only_who_writes_the_input_closes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its descriptor may be another file's by then."""
    late, closed = threading.Event(), Queue[bool]()

    def feed(stream: IO[bytes], data: bytes) -> None:
        late.wait(60)
        closed.put(stream.closed)
        stream.close()

    monkeypatch.setattr(process, "_feed", feed)
    process.finished(["true"], input=b"x")
    late.set()
    assert not closed.get(timeout=60)


@pytest.mark.parametrize("script", ["exec sleep 300", "sleep 300 & echo $! >pid"])
def test_one_that_does_not_end_is_given_up(home: Path, script: str) -> None:
    """The second one ends, and its child holds what it printed to open."""
    with pytest.raises(DevboxError, match="did not finish within 1 s"):
        process.run(["sh", "-c", script], timeout=1, cwd=str(home))
    if (home / "pid").exists():
        os.kill(int((home / "pid").read_text()), signal.SIGKILL)

"""The stream verb as the process it is: what it prints, and when it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devbox.box import event_log, paths, processes
from devbox.box.history import History
from devbox.box.stream import HEARTBEAT, Stream
from devbox.wire.codec import plain
from tests.remote.sshd import wait_until

REPO = Path(__file__).parents[2]


def sample(seq: int, boot: str = "b1", t: float | None = None) -> dict[str, Any]:
    return {"v": 1, "boot": boot, "seq": seq, "t": time.time() if t is None else t}


@pytest.fixture
def history() -> History:
    return History(paths.root() / "history", segment_bytes=500)


class Reader:
    """A running stream and the messages it printed."""

    def __init__(self, *args: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "devbox.box", "stream", *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=REPO,
        )

    def __iter__(self) -> Iterator[dict[str, Any]]:
        assert self.process.stdout
        for line in self.process.stdout:
            message = json.loads(line)
            if "hb" not in message:
                yield message

    def take(self, count: int) -> list[int]:
        """The numbers of the next samples."""
        rows = iter(self)
        return [next(rows)["seq"] for _ in range(count)]

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                pipe.close()


def printed(*args: str) -> list[dict[str, Any]]:
    with Reader(*args) as reader:
        return list(reader)


def test_history_after_and_recent(history: History) -> None:
    now = time.time()
    for seq in range(1, 41):
        history.append(sample(seq, t=now - 4000 + seq * 100))
    # The present one, to show something at once; first here, as it is present for seconds only.
    assert [m["seq"] for m in printed()] == [40]
    assert [m["seq"] for m in printed("--history", "1050")] == list(range(30, 41))
    assert [m["seq"] for m in printed("--after", "b1:37")] == [38, 39, 40]
    assert [m["seq"] for m in printed("--after", "unknown:3")] == list(range(1, 41))


def test_following_passes_on_what_comes(history: History) -> None:
    for seq in range(1, 4):
        history.append(sample(seq))
    with Reader("--follow", "--history", "60") as reader:
        assert reader.take(3) == [1, 2, 3]
        for seq in range(4, 60):
            history.append(sample(seq))
        assert reader.take(56) == list(range(4, 60))
        event_log.append(paths.root(), "warn", "pausing soon")
        event = next(iter(reader))["event"]
        assert (event["seq"], event["kind"], event["message"]) == (1, "warn", "pausing soon")


def test_it_ends_with_its_stdin(history: History) -> None:
    history.append(sample(1))
    with Reader("--follow", "--history", "60") as reader:
        assert reader.take(1) == [1]
        assert reader.process.stdin
        reader.process.stdin.close()
        assert reader.process.wait(60) == 0


def test_it_ends_when_nobody_reads(history: History) -> None:
    history.append(sample(1))
    with Reader("--follow", "--history", "60") as reader:
        assert reader.take(1) == [1]
        assert reader.process.stdout
        reader.process.stdout.close()

        def ended() -> bool:
            history.append(sample(2))
            return reader.process.poll() is not None

        wait_until(ended, "the stream ends")
        assert reader.process.returncode == 0


def test_it_books_what_it_sends(history: History) -> None:
    for seq in range(1, 30):
        history.append(sample(seq))
    with Reader("--follow", "--history", "60") as reader:
        reader.take(29)
        text = (paths.root() / "streams" / str(reader.process.pid)).read_text()
    sent, writes = map(int, text.split())
    assert sent > 29 * 40
    assert writes >= 1


def test_bad_arguments_end_at_once() -> None:
    for args in (["--after", "nonsense"], ["--history", "x"], ["--unknown"]):
        with Reader(*args) as reader:
            assert reader.process.wait(60) == 2


class Sink:
    """A stream without a process, on a clock of the test's."""

    def __init__(self, **options: Any) -> None:
        self.messages: list[dict[str, Any]] = []
        self.stream = Stream(paths.root(), self._take, now=1000.0, **options)

    def _take(self, data: bytes) -> None:
        self.messages += [json.loads(line) for line in data.splitlines()]

    def step(self, now: float) -> list[dict[str, Any]]:
        self.messages = []
        self.stream.step(now)
        return self.messages


def test_a_quiet_stream_beats(history: History) -> None:
    sink = Sink()
    assert sink.step(1000.0) == [{"v": 1, "hb": 1000.0, "agent": False}]
    assert sink.step(1000.0 + HEARTBEAT - 0.1) == []
    assert sink.step(1000.0 + HEARTBEAT) == [{"v": 1, "hb": 1000.0 + HEARTBEAT, "agent": False}]
    history.append(sample(1, t=1015.0))
    assert len(sink.step(1015.0)) == 1
    assert sink.step(1020.0 + HEARTBEAT / 2 - 0.1) == []
    (paths.root() / "agent.json").write_text(json.dumps(plain(processes.identity(os.getpid()))))
    assert sink.step(1025.0 + HEARTBEAT)[0]["agent"] is True


def test_events_resume_by_number_or_time() -> None:
    for number, t in enumerate([900.0, 950.0, 999.0], 1):
        event_log.append(paths.root(), "note", f"event {number}", t)

    def first(**options: Any) -> list[int]:
        return [m["event"]["seq"] for m in Sink(**options).step(1000.0) if "event" in m]

    assert first() == []
    assert first(history=60.0) == [2, 3]
    assert first(events_after=1) == [2, 3]
    assert first(events_after=3) == []
    assert first(events_since=999.0) == [3]
    sink = Sink(events_after=3)
    sink.step(1000.0)
    event_log.append(paths.root(), "note", "late", 1001.0)
    assert [m["event"]["seq"] for m in sink.step(1001.0)] == [4]
    assert sink.step(1002.0) == []


def test_an_event_that_comes_within_the_same_tick_of_the_file_s_clock_is_sent() -> None:
    event_log.append(paths.root(), "note", "first", 1000.0)
    file = paths.root() / event_log.FILE
    tick = file.stat().st_mtime_ns
    sink = Sink(events_after=0)
    assert [m["event"]["seq"] for m in sink.step(1000.0) if "event" in m] == [1]
    event_log.append(paths.root(), "note", "second", 1000.0)
    os.utime(file, ns=(tick, tick))
    assert [m["event"]["seq"] for m in sink.step(1001.0) if "event" in m] == [2]

"""A run's log, tally and outcome: bounded, resumable, and honest about what is missing."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from devbox.box.probes.gpu import Process, Row
from devbox.box.runs import log as run_log
from devbox.box.runs.jsonl import Tail
from devbox.box.runs.outcome import judge
from devbox.box.runs.progress import FAILURES, Tally
from devbox.box.runs.vram import PeakVram
from devbox.wire.codec import decode, encode
from devbox.wire.jobs import Counts, Failure, JobStatus
from tests.core.hostile import ALL

GB = 1 << 30


def everything(folder: Path, offset: int = 0) -> tuple[bytes, int]:
    """(all that can be read from there, bytes that were dropped)."""
    found, dropped = b"", 0
    while piece := run_log.read(folder, offset, 1000):
        found += piece.data
        dropped += piece.dropped
        offset = piece.start + len(piece.data)
    return found, dropped


def test_a_flood_loses_its_middle_and_says_how_much(tmp_path: Path) -> None:
    log = run_log.LogWriter(tmp_path, segment=1000, tail=3)
    printed = b"".join(b"%07d\n" % n for n in range(5000))
    for start in range(0, len(printed), 333):
        log.write(printed[start : start + 333])
    kept, dropped = everything(tmp_path)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) == len(kept) <= 4000
    assert dropped == log.dropped == len(printed) - len(kept)
    assert printed.startswith(kept[:1000])
    assert printed.endswith(kept[1000:])
    assert run_log.size(tmp_path) == log.offset == len(printed)


def test_reading_resumes_at_any_offset(tmp_path: Path) -> None:
    log = run_log.LogWriter(tmp_path, segment=10, tail=100)
    log.write(b"".join(b"%d," % n for n in range(100)))
    whole, _ = everything(tmp_path)
    for offset in range(len(whole)):
        assert everything(tmp_path, offset) == (whole[offset:], 0)


def test_a_further_attempt_appends(tmp_path: Path) -> None:
    for part in (b"one ", b"two ", b"three"):
        log = run_log.LogWriter(tmp_path, segment=6, tail=3)
        log.write(part)
        log.close()
    assert everything(tmp_path) == (b"one two three", 0)


def test_lines_end_at_newlines_and_redraws() -> None:
    found = list(run_log.lines(b"a\r\nb\rc\r\n\nrest", final=False))
    assert [(text, end) for text, end, _ in found] == [
        (b"a", b"\n"),
        (b"b", b"\r"),
        (b"c", b"\n"),
        (b"", b"\n"),
    ]
    assert sum(length for *_, length in found) == len(b"a\r\nb\rc\r\n\n")
    assert list(run_log.lines(b"x\r", final=False)) == []
    assert [text for text, *_ in run_log.lines(b"a\nrest", final=True)] == [b"a", b"rest"]


def feed(tally: Tally, now: float = 0.0, **report: Any) -> Failure | None:
    return tally.feed(json.dumps(report).encode(), now)


def test_the_time_left_comes_from_this_attempts_own_pace() -> None:
    tally = Tally(done={f"old{n}" for n in range(50)}, skipped=set())
    feed(tally, 0.0, total=100)
    assert tally.eta is None
    for n in range(10):
        feed(tally, 1.0 + n, item=f"new{n}", state="done")
    assert tally.progress == (60, 100)
    assert tally.eta == pytest.approx(40, rel=0.15)
    for n in range(40):
        feed(tally, 11.0 + n, item=f"last{n}", state="done")
    assert tally.eta == 0


def test_failures_are_named_up_to_a_bound_and_all_are_counted() -> None:
    tally = Tally(set(), set())
    found = [
        feed(tally, item=f"i{n}", state="failed", error="e" * 5000) for n in range(FAILURES + 50)
    ]
    status = tally.told(JobStatus())
    assert status.counts.failed == FAILURES + 50
    assert list(status.failures) == [failure for failure in found if failure]
    assert len(status.failures) == FAILURES
    assert status.failures_dropped == 50
    assert status.failures[0] == Failure("i0", "e" * 500)
    feed(tally, item="i0", state="done")
    assert tally.told(JobStatus()).counts == Counts(None, 1, FAILURES + 49, 0)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"no",
        b"[]",
        b"1",
        b'{"progress":1}',
        b'{"progress":[1]}',
        b'{"progress":["a",2]}',
        b'{"progress":[NaN,1]}',
        b'{"progress":[1e999,1]}',
        b'{"progress":[-1,1]}',
        b'{"progress":[true,1]}',
        b'{"total":"x"}',
        b'{"item":1,"state":"done"}',
        b'{"item":"a","state":"flying"}',
        b'{"stage":5}',
        b'{"vram":"much"}',
        b"[" * 100_000,
        b"\xff\xfe",
        b'{"progress":[' + b"9" * 5000 + b",1]}",
        b'{"unit":[]}',
    ],
)
def test_what_is_no_report_changes_nothing(line: bytes) -> None:
    tally = Tally(set(), set())
    assert tally.feed(line, 1.0) is None
    assert tally.told(JobStatus()) == JobStatus()


def test_hostile_reports_give_a_status_that_can_be_read() -> None:
    tally = Tally(set(), set())
    for moment in (1.0, 2.0):
        feed(tally, moment, total=9e17, progress=[moment, 9e17], vram=9e17)
        feed(tally, moment, stage="s", seconds=9e17)
    for text in ALL:
        feed(tally, item=text, state="failed", error=text)
        feed(tally, stage=text, seconds=1)
        feed(tally, progress=[1, 2], unit=text, message=text)
    line = encode(tally.told(JobStatus()))
    assert len(line) < 400_000
    assert decode(line, JobStatus).counts.failed == len(tally.failed)


def test_a_report_longer_than_a_line_may_be_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "reported.jsonl"
    path.write_bytes(b'{"a":"' + b"x" * 200_000 + b'"}\n{"total":3}\n')
    tail = Tail(path)
    assert tail.lines() == [b'{"total":3}']
    with path.open("ab") as stream:
        stream.write(b'{"total":')
    assert tail.lines() == []
    with path.open("ab") as stream:
        stream.write(b"4}\n")
    assert tail.lines() == [b'{"total":4}']


@pytest.mark.parametrize(
    ("code", "stopped", "state", "reason", "exit_code"),
    [
        (0, "", "succeeded", "", 0),
        (1, "", "failed", "exit", 1),
        (-9, "", "failed", "exit", 137),
        (0, "cancelled", "cancelled", "cancelled", 0),
        (-15, "cancelled", "cancelled", "cancelled", 143),
        (-9, "timeout", "failed", "timeout", 124),
        (-15, "interrupted", "failed", "interrupted", 143),
    ],
)
def test_outcomes(code: int, stopped: str, state: str, reason: str, exit_code: int) -> None:
    outcome = judge(code, stopped, 5.0, Tally(set(), set()))
    assert (outcome.state, outcome.reason, outcome.exit_code) == (state, reason, exit_code)


def gpu(used: int, *processes: tuple[int, int]) -> list[Row]:
    rows: list[Process] = [{"pid": pid, "name": "x", "mem_used": mem} for pid, mem in processes]
    return [{"mem_used": used, "processes": rows}]


def test_the_peak_of_gpu_memory_is_that_of_our_processes() -> None:
    peak = PeakVram()
    peak.feed(gpu(20 * GB, (5, 3 * GB), (99, 17 * GB)), {5, 6})
    peak.feed(gpu(22 * GB, (5, 4 * GB), (6, GB), (99, 17 * GB)), {5, 6})
    peak.feed(gpu(18 * GB, (5, GB), (99, 17 * GB)), {5, 6})
    assert (peak.peak, peak.source) == (5 * GB, "process")
    peak.measured(6 * GB)
    assert (peak.peak, peak.source) == (6 * GB, "work")


def test_where_pids_are_hidden_the_rise_of_the_device_counts() -> None:
    peak = PeakVram()
    hidden = 4_000_000  # no pid of this machine
    peak.feed(gpu(2 * GB, (hidden, GB)), {5})
    peak.feed(gpu(9 * GB, (hidden, 8 * GB)), {5})
    assert (peak.peak, peak.source) == (7 * GB, "device")
    peak.measured(6 * GB)
    assert (peak.peak, peak.source) == (6 * GB, "work")


def test_another_ones_gpu_memory_is_not_ours() -> None:
    peak = PeakVram()
    peak.feed(gpu(2 * GB, (os.getppid(), GB)), {5})
    peak.feed(gpu(9 * GB, (os.getppid(), 8 * GB)), {5})
    assert peak.peak is None


def test_a_gpu_that_begins_to_tell_its_memory_is_no_rise() -> None:
    peak, hidden = PeakVram(), 4_000_000
    silent: Row = {**gpu(0)[0], "uuid": "GPU-b", "mem_used": None}
    talks: Row = {**gpu(20 * GB, (hidden, GB))[0], "uuid": "GPU-b"}
    peak.feed([*gpu(2 * GB, (hidden, GB)), silent], {5})
    peak.feed([*gpu(2 * GB, (hidden, GB)), talks], {5})
    assert peak.peak is None


def test_memory_of_our_process_that_is_unknown_is_not_zero() -> None:
    peak = PeakVram()
    card: Row = {**gpu(2 * GB)[0], "processes": [{"pid": 5, "name": "python", "mem_used": None}]}
    peak.feed([card], {5})
    assert (peak.peak, peak.source) == (None, None)

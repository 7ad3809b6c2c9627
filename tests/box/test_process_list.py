"""The list of processes of a sample: real ones, hostile names, pids that are used again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devbox.box.probes.system import process_list
from devbox.box.probes.system.process_list import MOST, ProcessList, Seen

MB = 1 << 20


def test_a_busy_process_and_a_large_one_are_told() -> None:
    tables = iter(
        [
            [Seen(9, "5", "train", 10.0, MB), Seen(8, "1", "cache", 0.5, 900 * MB)],
            [
                Seen(9, "5", "train", 11.0, MB),
                Seen(8, "1", "cache", 0.5, 900 * MB),
                Seen(7, "6", "new", 300.0, MB),
            ],
            [Seen(9, "9", "other", 0.2, MB)],
        ]
    )
    listed = ProcessList(lambda: next(tables))
    assert listed.read(100.0) is None, "the first look has nothing to compare with"
    assert listed.read(100.5) is None
    rows = listed.read(102.0)
    assert rows is not None
    assert rows == [
        {"pid": 9, "name": "train", "cpu": 50.0, "mem": MB},
        {"pid": 8, "name": "cache", "cpu": 0.0, "mem": 900 * MB},
        {"pid": 7, "name": "new", "cpu": 0.0, "mem": MB},
    ]
    assert listed.read(103.0) is None, "looks are five seconds apart"
    assert listed.read(107.5) == [{"pid": 9, "name": "other", "cpu": 0.0, "mem": MB}], (
        "a pid that another process has now"
    )


def test_the_list_is_bounded_and_a_clock_set_back_stops_nothing() -> None:
    many = [Seen(pid, "1", "p", 0.0, pid) for pid in range(500)]
    listed = ProcessList(lambda: many)
    listed.read(1000.0)
    assert listed.read(10.0) is None
    rows = listed.read(12.0)
    assert rows is not None
    assert len(rows) == MOST
    assert [row["pid"] for row in rows[:6]] == [499, 498, 497, 496, 495, 494]


def test_looking_costs_at_most_a_thousandth_of_a_core(monkeypatch: pytest.MonkeyPatch) -> None:
    spent = iter([0.0, 0.02, 1.0, 1.02, 2.0, 2.02])
    monkeypatch.setattr("time.thread_time", lambda: next(spent))
    listed = ProcessList(lambda: [Seen(1, "1", "init", 0.0, MB)])
    listed.read(100.0)
    assert listed.read(119.0) is None
    assert listed.read(120.1) is not None
    assert listed.read(139.0) is None
    assert listed.read(140.2) is not None


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A real process whose name holds what a stat line is split at."""
    program = tmp_path / "a) R (b"
    program.symlink_to(sys.executable)
    line = "import sys; print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [str(program), "-c", line], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        process.stdout.readline()
        yield process
        process.communicate()


def test_real_processes_are_read_whatever_their_names(hostile: subprocess.Popen[bytes]) -> None:
    look = process_list.source()
    assert look is not None
    found = {each.pid: each for each in look()}
    assert found[hostile.pid].name == "a) R (b"
    assert found[os.getpid()].rss > MB
    assert found[os.getpid()].cpu > 0

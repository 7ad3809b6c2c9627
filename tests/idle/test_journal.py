"""events.jsonl: in order, whole, bounded, from several processes at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from devbox.box import event_log, paths
from devbox.wire.messages import BoxEvent
from tests.jobs.conftest import REPOSITORY


def test_events_are_numbered_and_cleaned() -> None:
    event_log.append(paths.root(), "warning", "one\n\x1b[31mtwo", 5.0)
    second = event_log.append(paths.root(), "armed", "x" * 5000)
    first, last = event_log.read(paths.root())
    assert first == BoxEvent(1, 5.0, "warning", "one two")
    assert last == second
    assert len(last.message) == 900
    assert event_log.read(paths.root(), after=1) == [last]


def test_it_stays_bounded_and_keeps_counting() -> None:
    for index in range(2000):
        event_log.append(paths.root(), "fault", f"{index} " + "x" * 400)
    path = paths.root() / event_log.FILE
    assert path.stat().st_size <= event_log.MAX_BYTES
    events = event_log.read(paths.root())
    assert events[-1].seq == 2000
    numbers = [event.seq for event in events]
    assert numbers == list(range(numbers[0], 2001))


def test_a_torn_line_hurts_only_itself() -> None:
    event_log.append(paths.root(), "armed", "one")
    with (paths.root() / event_log.FILE).open("ab") as stream:
        stream.write(b'{"seq":2,"kind":"warn')
    event_log.append(paths.root(), "armed", "two")
    assert [event.message for event in event_log.read(paths.root())] == ["one", "two"]


def test_several_processes_lose_nothing(home: Path) -> None:
    code = (
        "from devbox.box import event_log, paths\n"
        "for i in range(50): event_log.append(paths.root(), 'fault', str(i))"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY) for _ in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    assert [event.seq for event in event_log.read(paths.root())] == list(range(1, 151))

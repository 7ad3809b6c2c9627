"""events.jsonl: in order, whole, bounded, from several processes at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from devbox.onbox import journal, place
from tests.jobs.conftest import REPOSITORY


def test_events_are_numbered_and_cleaned() -> None:
    journal.append(place.root(), "warning", "one\n\x1b[31mtwo", 5.0)
    second = journal.append(place.root(), "armed", "x" * 5000)
    first, last = journal.read(place.root())
    assert first == {"seq": 1, "t": 5.0, "kind": "warning", "message": "one two"}
    assert last == second
    assert len(last["message"]) == 500
    assert journal.read(place.root(), after=1) == [last]


def test_it_stays_bounded_and_keeps_counting() -> None:
    for index in range(2000):
        journal.append(place.root(), "fault", f"{index} " + "x" * 400)
    path = place.root() / journal.FILE
    assert path.stat().st_size <= journal.MAX_BYTES
    events = journal.read(place.root())
    assert events[-1]["seq"] == 2000
    numbers = [event["seq"] for event in events]
    assert numbers == list(range(numbers[0], 2001))


def test_a_torn_line_hurts_only_itself() -> None:
    journal.append(place.root(), "armed", "one")
    with (place.root() / journal.FILE).open("ab") as stream:
        stream.write(b'{"seq":2,"kind":"warn')
    journal.append(place.root(), "armed", "two")
    assert [event["message"] for event in journal.read(place.root())] == ["one", "two"]


def test_several_processes_lose_nothing(home: Path) -> None:
    code = (
        "from devbox.onbox import journal, place\n"
        "for i in range(50): journal.append(place.root(), 'fault', str(i))"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY) for _ in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    assert [event["seq"] for event in journal.read(place.root())] == list(range(1, 151))

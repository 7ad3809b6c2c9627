"""Lines that go between a run's work, its supervisor and its followers."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from devbox.box.runs.progress import Tally
from devbox.wire.codec import load_or_none

MAX_REPORT = 1 << 16  # bytes; a longer line is not a report
_TRUNCATE = 64 << 20  # bytes of read reports after which the file is emptied
_CHUNK = 4 << 20


class Tail:
    """Whole lines as they are added to a file that others append to."""

    def __init__(self, path: Path, *, at_end: bool = False) -> None:
        self._path = path
        self._offset = path.stat().st_size if at_end and path.exists() else 0
        self._rest = b""
        self._truncates = path.name == "reported.jsonl"

    @property
    def is_behind(self) -> bool:
        """There is more to read."""
        return self._path.exists() and self._path.stat().st_size != self._offset

    def lines(self) -> List[bytes]:
        """The next ones, from at most a few megabytes."""
        try:
            size = self._path.stat().st_size
        except FileNotFoundError:
            return []
        if size < self._offset:
            self._offset, self._rest = 0, b""  # whoever writes it began again
        if size == self._offset:
            return []
        with self._path.open("rb") as stream:
            stream.seek(self._offset)
            data = stream.read(_CHUNK)
        self._offset += len(data)
        *whole, self._rest = (self._rest + data.replace(b"\0", b"")).split(b"\n")
        if len(self._rest) > MAX_REPORT:
            self._rest = b""
        if self._truncates and self._offset >= max(_TRUNCATE, size):
            os.truncate(self._path, 0)
            self._offset = 0
        return [line for line in whole if line and len(line) <= MAX_REPORT]


class EventLog:
    """events.jsonl: numbered events of a run, through all its attempts. One writer."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seq = max((event["seq"] for event in read_events(path)), default=0)
        self._torn = path.exists()
        self._progress_at = 0.0
        self._progress: Optional[Tuple[Any, ...]] = None

    def add(self, event: Dict[str, Any]) -> None:
        self._seq += 1
        event = {"seq": self._seq, "t": round(time.time(), 3), **event}
        try:
            # An empty line closes one that a full disk or a crash tore.
            append(self._path, event, before=b"\n" if self._torn else b"")
        except OSError:
            # A full disk loses events, never the run; status.json still tells how it ended.
            self._torn = True
            return
        self._torn = False

    def progress(self, tally: Tally, age: float, now: float) -> None:
        """Publish progress, ever more seldom as a run gets older: some thousands in all."""
        done, total = tally.progress
        shown = (done, total, tally.message)
        if shown == self._progress or now - self._progress_at < max(0.2, age / 1000):
            return
        self._progress, self._progress_at = shown, now
        fields = {"done": done, "total": total, "unit": tally.unit, "eta": tally.eta}
        self.add({"kind": "progress", **fields, "message": tally.message})


def append(path: Path, record: Dict[str, Any], *, before: bytes = b"") -> None:
    """One record as one line."""
    line = json.dumps(record, separators=(",", ":"), allow_nan=False).encode() + b"\n"
    with path.open("ab", buffering=0) as stream:
        stream.write(before + line)


def read_events(path: Path) -> List[Dict[str, Any]]:
    """Every event so far, oldest first."""
    return EventReader(path).read()


class EventReader:
    """Reads events.jsonl on from where it was."""

    def __init__(self, path: Path) -> None:
        self._tail = Tail(path)

    def read(self) -> List[Dict[str, Any]]:
        """What is new."""
        found: List[Dict[str, Any]] = []
        while self._tail.is_behind:
            for line in self._tail.lines():
                event = load_or_none(line)
                if event is not None and isinstance(event.get("seq"), int):
                    found.append(event)
        return found

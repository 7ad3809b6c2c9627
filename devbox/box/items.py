"""items.jsonl of a run: what became of each item, one record a line; it makes a retry resume.

    {"t": unix seconds, "item": name, "state": …, "attempt": number, "seconds": s, "error": text}

state: started, done, failed, skipped; suspect for what was under way when a worker crashed; again
for what is worked on once more, in a further round.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import Dict, Mapping, Set, Tuple

_ERROR = 500  # characters of an item's error that are kept
_SETTLED = ("done", "failed", "skipped")
_UNKNOWN = ("", None, "")


class Items:
    """The journal as one process adds to it. Any thread may call."""

    def __init__(self, path: Path, attempt: int) -> None:
        self.path, self._attempt = path, attempt
        #: name → state, attempt and error of its last record
        self._known: Dict[str, Tuple[str, object, str]] = {}
        #: how many are done, failed or skipped
        self.settled = 0
        for name, record in read_items(path).items():
            self._take(name, record)
        #: items that were under way together when this attempt's last worker crashed
        self.suspects: Set[str] = {
            name
            for name, (state, at, _) in self._known.items()
            if (state, at) == ("suspect", attempt)
        }
        self._lock = threading.Lock()
        _end_line(path)

    def outcome(self, name: str) -> str:
        """done, failed or skipped where the item needs no more work: it was done or skipped ever,
        or failed in this attempt (its worker may have crashed on it); else ""."""
        state, attempt, _ = self._known.get(name, _UNKNOWN)
        if state == "failed" and attempt != self._attempt:
            return ""
        return state if state in _SETTLED else ""

    def error(self, name: str) -> str:
        """Why it failed."""
        return self._known.get(name, _UNKNOWN)[2]

    def is_settled(self, name: str) -> bool:
        """Whether it is done, failed or skipped, in whatever attempt."""
        return self._known.get(name, _UNKNOWN)[0] in _SETTLED

    @property
    def has_failures(self) -> bool:
        """Whether an item has failed, in whatever attempt."""
        return any(state == "failed" for state, _, _ in self._known.values())

    def begin(self, name: str) -> None:
        self._add(name, {"state": "started"})

    def settle(self, name: str, state: str, seconds: float = 0.0, error: str = "") -> None:
        """It is done, failed or skipped."""
        self._add(name, {"state": state, "seconds": round(seconds, 6), "error": error[:_ERROR]})

    def again(self, name: str) -> None:
        """What became of it no longer counts."""
        self._add(name, {"state": "again"})

    def _add(self, name: str, change: Mapping[str, object]) -> None:
        record = {"item": name, **change, "attempt": self._attempt}
        with self._lock:
            append(self.path, record)
            self._take(name, record)

    def _take(self, name: str, record: Mapping[str, object]) -> None:
        state, error = record.get("state"), record.get("error")
        known = sys.intern(state) if isinstance(state, str) else ""
        self.settled += (known in _SETTLED) - self.is_settled(name)
        self._known[name] = known, record.get("attempt"), error if isinstance(error, str) else ""


def append(path: Path, record: Mapping[str, object]) -> None:
    """One record with its time, as one line."""
    line = json.dumps({"t": round(time.time(), 3), **record}, separators=(",", ":")) + "\n"
    with path.open("ab") as stream:
        stream.write(line.encode())


def read_items(path: Path) -> Dict[str, Dict[str, object]]:
    """Item name → its last record. A torn last line is left out."""
    last: Dict[str, Dict[str, object]] = {}
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return last
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue  # torn by a crash: the item is simply done again
        if isinstance(record, dict) and isinstance(record.get("item"), str):
            last[record["item"]] = record
    return last


def _end_line(file: Path) -> None:
    """Close a line that a crash tore, so that the next record does not join it."""
    if file.exists() and file.stat().st_size and not file.read_bytes().endswith(b"\n"):
        with file.open("ab") as stream:
            stream.write(b"\n")

"""events.jsonl: what the watchdog did, or what happened in a run; a `BoxEvent` a line, bounded.

Several processes write (agent, keep, arm), so each append holds a lock on the folder's
events.lock; `seq` continues counting when old lines are dropped. Dropping replaces the file.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import List, Optional

from devbox.wire.codec import Unreadable, clean, decode, encode
from devbox.wire.messages import BoxEvent

FILE = "events.jsonl"
MAX_BYTES = 256 << 10
_MESSAGE = 900  # characters
_BLOCK = 16 << 10


def append(folder: Path, kind: str, message: str, t: float | None = None) -> BoxEvent:
    """Add one event and return it. OSError when it cannot be written."""
    path = folder / FILE
    with open(folder / "events.lock", "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        text = clean(message, _MESSAGE).replace("\n", " ")
        event = BoxEvent(_last(path) + 1, time.time() if t is None else t, kind, text)
        line = encode(event)
        if path.exists() and path.stat().st_size + len(line) > MAX_BYTES:
            old = _lines(path)
            _rewrite(path, [*old[len(old) // 2 :], event])
        else:
            _extend(path, line)
    return event


def read(folder: Path, after: int = 0) -> List[BoxEvent]:
    """Events with a seq above `after`, oldest first."""
    return [event for event in _lines(folder / FILE) if event.seq > after]


def _lines(path: Path) -> List[BoxEvent]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    found = (_event(line) for line in data.split(b"\n"))
    return [event for event in found if event]


def _event(line: bytes) -> Optional[BoxEvent]:
    try:
        return decode(line, BoxEvent)
    except Unreadable:
        return None


def _last(path: Path) -> int:
    """The latest seq, from the end of the file where it can be."""
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - _BLOCK))
            tail = stream.read(_BLOCK)
    except FileNotFoundError:
        return 0
    for line in reversed(tail.split(b"\n")):
        event = _event(line)
        if event:
            return event.seq
    events = _lines(path)
    return events[-1].seq if events else 0


def _extend(path: Path, line: bytes) -> None:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        size = os.fstat(handle).st_size
        # A writer killed in mid-line left no newline: ours must not join its half.
        torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
        os.write(handle, b"\n" + line if torn else line)
    finally:
        os.close(handle)


def _rewrite(path: Path, events: List[BoxEvent]) -> None:
    part = path.with_name(f".{path.name}.part")
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
        stream.writelines(encode(event) for event in events)
    os.replace(part, path)

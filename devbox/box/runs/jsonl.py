"""Lines that go between a run's work and its supervisor."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import List, Mapping

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


def append(path: Path, record: Mapping[str, object], *, before: bytes = b"") -> None:
    """One record as one line."""
    line = json.dumps(record, separators=(",", ":"), allow_nan=False).encode() + b"\n"
    with path.open("ab", buffering=0) as stream:
        stream.write(before + line)

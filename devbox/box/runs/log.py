"""A run's log: everything its processes printed, in bounded space, addressed by byte offset.

The head stays in log.txt. What follows goes to segments log.<offset>.txt, of which the last few
are kept: a flood loses its middle, and both its beginning and its end can be read. Offsets count
every byte ever printed, so a reader resumes exactly, and knows how much was dropped.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import BinaryIO, Iterator, List, NamedTuple, Optional, Tuple

SEGMENT = 16 << 20  # bytes in the head and in each segment
TAIL = 3  # segments kept after the head: 64 MB in all
_NAME = re.compile(r"log\.(\d{16})\.txt")


class Piece(NamedTuple):
    """Bytes of the log from `start`; dropped: how many just before them are gone."""

    start: int
    data: bytes
    dropped: int


class LogWriter:
    """Appends to the log in `folder`; continues where an earlier attempt ended."""

    def __init__(self, folder: Path, *, segment: int = SEGMENT, tail: int = TAIL) -> None:
        self._folder, self._segment, self._tail = folder, segment, tail
        start, path = _segments(folder)[-1] if _segments(folder) else (0, folder / "log.txt")
        self._stream: BinaryIO = path.open("ab", buffering=0)
        self._room = segment - path.stat().st_size
        self.offset = start + path.stat().st_size

    def write(self, data: bytes) -> None:
        while data:
            if self._room <= 0:
                self._turn()
            # Counted piece by piece: a full disk takes part of it and then refuses.
            written = self._stream.write(data[: self._room]) or 0
            data = data[written:]
            self._room -= written
            self.offset += written

    def close(self) -> None:
        self._stream.close()

    @property
    def dropped(self) -> int:
        """Bytes of the middle that are gone."""
        kept = sum(path.stat().st_size for _, path in _segments(self._folder))
        return max(0, self.offset - kept)

    def _turn(self) -> None:
        self._stream.close()
        self._stream = (self._folder / f"log.{self.offset:016d}.txt").open("ab", buffering=0)
        self._room = self._segment
        for _, old in _segments(self._folder)[1 : -self._tail]:
            old.unlink()


def read(folder: Path, offset: int, limit: int = 1 << 16) -> Optional[Piece]:
    """The next at most `limit` bytes at or after `offset`; None when there are none yet."""
    begin, data = offset, b""
    for start, path in _segments(folder):
        if data and start != begin + len(data):
            break
        try:
            with path.open("rb") as stream:
                begin = begin if data else max(start, offset)
                stream.seek(begin + len(data) - start)
                data += stream.read(limit - len(data))
        except FileNotFoundError:
            continue  # dropped while we looked: the next segment tells the gap
        if len(data) >= limit:
            break
    return Piece(begin, data, begin - offset) if data else None


def size(folder: Path) -> int:
    """Bytes ever printed."""
    segments = _segments(folder)
    return segments[-1][0] + segments[-1][1].stat().st_size if segments else 0


def lines(data: bytes, *, final: bool) -> Iterator[Tuple[bytes, bytes, int]]:
    """(text, end, length) for each line in `data`; end is newline, carriage return (a progress
    bar redrawing itself) or empty. An unfinished last line is left out unless `final`."""
    position = 0
    for match in re.finditer(rb"\r\n|\n|\r(?=[^\n])", data):
        yield data[position : match.start()], match.group()[-1:], match.end() - position
        position = match.end()
    if final and position < len(data):
        yield data[position:], b"", len(data) - position


def _segments(folder: Path) -> List[Tuple[int, Path]]:
    found = [(0, folder / "log.txt")] if (folder / "log.txt").exists() else []
    for name in os.listdir(folder):
        match = _NAME.fullmatch(name)
        if match:
            found.append((int(match[1]), folder / name))
    return sorted(found)

"""The box's memory of its last hours: samples as JSON lines in bounded segments on disk.

    history/00000012.jsonl      the segment being written, one write a sample
    history/00000011.jsonl.gz   a finished one

One process appends (the agent), any number read meanwhile. Nothing is lost or doubled for a
reader when a segment is finished and compressed under it. After a crash at any point the last
line may be torn: it is ignored, and appending continues in a new segment.
"""

from __future__ import annotations

import gzip
import os
import re
from contextlib import closing, suppress
from pathlib import Path
from typing import Iterable, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from devbox.box.json_file import number
from devbox.wire import codec

Position = Tuple[str, int]  # (boot, seq)

_NAME = re.compile(r"(\d{8})\.jsonl(\.gz)?")
# `codec.encode` keeps a sample's key order, so its name and time are read without parsing it all
_HEAD = re.compile(rb'\{"v":\d+,"boot":"([\w-]{1,64})","seq":(\d{1,15}),"t":(-?[0-9.e+]{1,30})[,}]')


class Row(NamedTuple):
    """One stored sample: its name, its time, and its line as written, without the newline."""

    boot: str
    seq: int
    t: float
    line: bytes


class History:
    """folder: made when missing. At most `max_bytes` on disk and about `max_age` seconds of
    samples; a segment ends at `segment_bytes` or `segment_age` seconds."""

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int = 8 << 20,
        max_age: float = 2 * 3600.0,
        segment_bytes: int = 512 << 10,
        segment_age: float = 900.0,
    ) -> None:
        self.folder = folder
        self._max_bytes, self._max_age = max_bytes, max_age
        self._segment_bytes, self._segment_age = segment_bytes, segment_age
        self._fd: Optional[int] = None
        self._number = 0
        self._size = 0
        self._began = 0.0

    def append(self, sample: Mapping[str, object]) -> bool:
        """Store one sample with a single write. False when the disk did not take it; it is then
        missing from the history, and the next one is tried again."""
        line, t = codec.encode(sample), number(sample.get("t")) or 0.0
        full = self._size + len(line) > self._segment_bytes
        if full or not 0 <= t - self._began < self._segment_age:
            self.close()
        try:
            fd = self._begin(t) if self._fd is None else self._fd
            stored = os.write(fd, line) == len(line)
        except OSError:
            stored = False
        self._size += len(line)
        if not stored:
            self._abandon()
        return stored

    def close(self) -> None:
        """Finish the present segment: compress it and drop what is over the bounds."""
        if self._fd is None:
            return
        self._abandon()
        with suppress(OSError):  # left as it is, it is as readable, and compressed next time
            _compress(self._path(self._number))
            self._prune()

    def _begin(self, t: float) -> int:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in sorted(self.folder.glob("*.jsonl")):  # what a crashed writer left
            _compress(path)
        self._number = max([self._number, *(number for number, _ in _segments(self.folder))]) + 1
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._fd = os.open(str(self._path(self._number)), flags, 0o600)
        self._size, self._began = 0, t
        self._prune()
        return self._fd

    def _abandon(self) -> None:
        """No more lines into this segment: its last one may be torn."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:08d}.jsonl"

    def _prune(self) -> None:
        room = self._max_bytes - self._segment_bytes  # what the present segment will grow to
        newest: Optional[float] = None
        for place, path in reversed(_segments(self.folder)):
            if place == self._number and path.suffix != ".gz":
                continue
            found = path.stat()
            newest = found.st_mtime if newest is None else newest
            room -= found.st_size
            if room < 0 or newest - found.st_mtime > self._max_age:
                path.unlink()


class Tail:
    """Reads a history from its oldest line on, and at each `poll` what was added since.

    after: leave out the sample of that name and what is older; when no sample of its boot is
    stored any more, everything stored is newer. since: leave out what is older than that time;
    finished segments older than it are not even unpacked (170 ms of a two-hour history).
    """

    def __init__(
        self, folder: Path, *, after: Optional[Position] = None, since: Optional[float] = None
    ) -> None:
        self._folder, self._since = folder, since
        self._number = 0
        self._fd: Optional[int] = None
        self._rest = b""
        self._after = after if after and _holds(folder, after[0]) else None
        self._reached = False

    def poll(self) -> Iterator[Row]:
        """The complete lines that were added since the last call."""
        yield from self._wanted(self._added())
        self._after = None  # all that is still to come is newer than what is stored now

    def close(self) -> None:
        """Let go of the files."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
        self._rest = b""

    def _wanted(self, rows: Iterable[Row]) -> Iterator[Row]:
        for row in rows:
            if self._since is not None and row.t < self._since:
                continue
            if self._after is not None:
                boot, seq = self._after
                self._reached = self._reached or row.boot == boot
                if not self._reached or (row.boot == boot and row.seq <= seq):
                    continue
                self._after = None
            yield row

    def _added(self) -> Iterator[Row]:
        while True:
            # asked before reading: once a later segment exists, this one gets no more lines
            following = self._following()
            yield from self._drain()
            if following is None:
                return
            self.close()
            yield from self._enter(*following)

    def _following(self) -> Optional[Tuple[int, Path]]:
        present = _segments(self._folder)
        if present and present[-1][0] < self._number:  # the folder was emptied and begun again
            self._number = 0
        return next((found for found in present if found[0] > self._number), None)

    def _too_old(self, packed: Path) -> bool:
        """A finished segment was last written at its newest sample's time."""
        return self._since is not None and packed.stat().st_mtime < self._since

    def _enter(self, number: int, path: Path) -> List[Row]:
        """Open a segment. A compressed one is complete and read at once."""
        self._number = number
        packed = path if path.suffix == ".gz" else path.with_name(path.name + ".gz")
        if path is not packed:
            try:
                self._fd = os.open(str(path), os.O_RDONLY | os.O_CLOEXEC)
                return []
            except FileNotFoundError:  # compressed between listing and opening
                pass
        try:
            return [] if self._too_old(packed) else _rows(gzip.decompress(packed.read_bytes()))[0]
        except (OSError, EOFError):  # pruned since, or damaged: nothing to be had from it
            return []

    def _drain(self) -> Iterator[Row]:
        while self._fd is not None:
            chunk = os.read(self._fd, 1 << 18)
            if not chunk:
                return
            rows, self._rest = _rows(self._rest + chunk)
            yield from rows


def _holds(folder: Path, boot: str) -> bool:
    """Whether a sample of that boot is still stored."""
    with closing(Tail(folder)) as tail:
        return any(row.boot == boot for row in tail.poll())


def _segments(folder: Path) -> List[Tuple[int, Path]]:
    """Segments oldest first, each once: the compressed form where both are there."""
    try:
        names = sorted(os.listdir(folder))  # "n.jsonl" comes before "n.jsonl.gz"
    except OSError:
        return []
    matches = [match for match in map(_NAME.fullmatch, names) if match]
    return sorted({int(match[1]): folder / match[0] for match in matches}.items())


def _compress(path: Path) -> None:
    packed, temporary = path.with_name(path.name + ".gz"), path.with_name(path.name + ".tmp")
    data, stamp = path.read_bytes(), path.stat().st_mtime
    if data and not packed.exists():
        temporary.write_bytes(gzip.compress(data, 4))
        os.utime(temporary, (stamp, stamp))
        os.replace(temporary, packed)
    path.unlink()


def _rows(data: bytes) -> Tuple[List[Row], bytes]:
    """The complete lines of `data`, and what follows the last newline."""
    *lines, rest = data.split(b"\n")
    return [row for row in map(_row, lines) if row], rest


def _row(line: bytes) -> Optional[Row]:
    match = _HEAD.match(line)
    if not match or not line.endswith(b"}"):
        return None
    try:
        return Row(match[1].decode(), int(match[2]), float(match[3]), line)
    except ValueError:
        return None

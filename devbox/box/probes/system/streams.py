"""What devbox's own telemetry streams sent over ssh, so that watching a box is not using it.

Each stream process keeps streams/<pid> = "<bytes> <writes>\\n". A file outlives its process until
the sampler has added it up.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Dict, Tuple

from devbox.box.probes.system import PROC

# ssh adds to each write a packet header, padding and a MAC (RFC 4253, 5656): 36-52 bytes.
_PER_WRITE = 48
_PACKET = 32768  # bytes an ssh packet holds


class Account:
    """A stream's own line in the books. pid: the stream's process."""

    def __init__(self, root: Path, pid: int) -> None:
        folder = root / "streams"
        folder.mkdir(mode=0o700, exist_ok=True)
        self._path = folder / str(pid)
        self._bytes = self._writes = 0
        self._fd = os.open(str(self._path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self.add(0)

    def add(self, count: int) -> None:
        """`count` bytes are about to be sent at once."""
        self._bytes += count
        self._writes += -(-count // _PACKET)
        # never shorter than before, so no torn number is ever read
        with suppress(OSError):
            os.pwrite(self._fd, b"%020d %020d\n" % (self._bytes, self._writes), 0)


class Streams:
    """Adds up all streams since the first search."""

    def __init__(self, root: Path, proc: Path = PROC) -> None:
        self._folder, self._proc = root / "streams", proc
        self._live: Dict[str, Tuple[int, int]] = {}
        self._base: Dict[str, Tuple[int, int]] = {}
        self._gone = (0, 0)
        self._first = True

    def search(self) -> None:
        """Find new streams, add up and remove those that ended."""
        try:
            names = os.listdir(self._folder)
        except OSError:
            names = []
        for name in names:
            if name.isdigit() and name not in self._live:
                self._live[name] = self._read(name)
                if self._first:
                    self._base[name] = self._live[name]
        self._first = False
        for name in [name for name in self._live if not (self._proc / name).exists()]:
            sent, writes = self._since(name)
            self._gone = (self._gone[0] + sent, self._gone[1] + writes)
            del self._live[name]
            self._base.pop(name, None)
            with suppress(OSError):
                os.unlink(self._folder / name)

    def sent(self) -> Tuple[int, int]:
        """(bytes the streams wrote, bytes those took on the wire)."""
        total, writes = self._gone
        for name in self._live:
            row = self._since(name)
            total, writes = total + row[0], writes + row[1]
        return total, total + _PER_WRITE * writes

    def _since(self, name: str) -> Tuple[int, int]:
        last = self._live[name] = max(self._live[name], self._read(name))
        base = self._base.get(name, (0, 0))
        return last[0] - base[0], last[1] - base[1]

    def _read(self, name: str) -> Tuple[int, int]:
        try:
            words = (self._folder / name).read_text().split()
            return int(words[0]), int(words[1])
        except (OSError, ValueError, IndexError):
            return (0, 0)

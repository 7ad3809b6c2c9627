"""Cumulative counters turned into rates, and kernel files read again and again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Optional


class Rate:
    """Units per second between two readings of a growing counter.

    None for the first reading, and when the counter or the clock went backwards.
    """

    def __init__(self) -> None:
        self._last: Optional[float] = None
        self._at = 0.0

    def step(self, value: Optional[float], now: float) -> Optional[float]:
        last, at = self._last, self._at
        self._last, self._at = value, now
        if value is None or last is None or value < last or now <= at:
            return None
        return (value - last) / (now - at)

    def whole(self, value: Optional[float], now: float) -> Optional[int]:
        """`step`, cut to a whole number."""
        rate = self.step(value, now)
        return None if rate is None else int(rate)


class KernelFile:
    """A /proc or /sys file kept open: reading it from the start makes the kernel write it again."""

    def __init__(self, path: Path, size: int = 65536) -> None:
        self._path, self._size = path, size
        self._fd: Optional[int] = None

    def read(self) -> Optional[str]:
        """Its text now, at most `size` bytes; None when it is not there or may not be read."""
        try:
            if self._fd is None:
                self._fd = os.open(str(self._path), os.O_RDONLY | os.O_CLOEXEC)
            return os.pread(self._fd, self._size, 0).decode("ascii", "replace")
        except OSError:
            self.close()
            return None

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

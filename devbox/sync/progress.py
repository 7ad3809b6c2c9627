"""How a transfer stands: rsync's output lines → amounts, rate and time left. Pure."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import msgspec

#: The rate is that of the last this many seconds.
WINDOW = 5.0
_TOTAL = re.compile(rb"\s*([\d,.]+)\s+(\d+)%\s")
_ITEM = re.compile(rb"@([^@]{9,11})@([\d,.]+)@(.+)", re.DOTALL)
_NEWER = re.compile(rb"(.+) is newer\s*")
_ESCAPED = re.compile(rb"\\#([0-3][0-7]{2})")


class Progress(msgspec.Struct, frozen=True):
    """bytes_done, bytes_total: of file contents; total None where it is not known yet. rate:
    bytes a second. eta: seconds. file: the one now in work, as rsync names it."""

    bytes_done: int = 0
    bytes_total: int | None = None
    rate: float = 0.0
    eta: float | None = None
    file: str = ""
    files_done: int = 0


class Item(NamedTuple):
    """One file that rsync sent or made. moved: its contents went over the wire."""

    path: bytes
    size: int
    folder: bool
    moved: bool


class Amount(NamedTuple):
    """Bytes so far, and per cent of the whole tree."""

    done: int
    percent: int


class Newer(NamedTuple):
    """rsync left this path alone: the receiving side's is newer."""

    path: bytes


def parse(line: bytes) -> Item | Amount | Newer | None:
    """One line (ended by CR or LF) of rsync's stdout. None: of no interest."""
    if item := _ITEM.fullmatch(line):
        return _item(item[1], item[2], item[3])
    if total := _TOTAL.match(line):
        return Amount(_number(total[1]), int(total[2]))
    if newer := _NEWER.fullmatch(line):
        return Newer(unescape(newer[1]))
    return None


def unescape(name: bytes) -> bytes:
    """rsync prints a byte that is not printable ASCII as \\#ooo (octal)."""
    return _ESCAPED.sub(lambda found: bytes([int(found[1], 8)]), name)


class Meter:
    """Turns amounts into `Progress`. total: how many bytes there are to move, if that is known
    (asked each time, it may become known late)."""

    def __init__(self, clock: Callable[[], float], total: Callable[[], int | None]) -> None:
        self._clock, self._total = clock, total
        self._seen: deque[tuple[float, int]] = deque([(clock(), 0)])
        self._before = self._now = self._files = self._summed = 0
        self._percent = 0
        self._file = ""

    def item(self, item: Item) -> None:
        """A file came up; where rsync gives no amounts, it counts as done."""
        self._file = item.path.decode(errors="replace")
        self._files += item.moved
        self._summed += item.size if item.moved else 0

    def amount(self, amount: Amount) -> None:
        self._now, self._percent = amount.done, amount.percent

    def cut(self) -> None:
        """The connection was lost; rsync counts from 0 again, what it finished stays done."""
        self._before += self._now
        self._now = 0

    def progress(self) -> Progress:
        now = self._clock()
        done = self._before + self._now or self._summed
        total = self._total()
        if total is None and self._percent > 0:
            total = self._before + int(self._now * 100 / self._percent)
        if total is not None:
            total = max(total, done)
        self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[0][0] > WINDOW:
            self._seen.popleft()
        then, had = self._seen[0]
        rate = max(0.0, (done - had) / (now - then)) if now > then else 0.0
        eta = (total - done) / rate if total is not None and rate > 0 else None
        return Progress(done, total, rate, eta, self._file, self._files)


def _item(flags: bytes, size: bytes, name: bytes) -> Item | None:
    if flags[:1] in b"*." or len(flags) < 2:  # deletions, and attributes alone
        return None
    path = unescape(name)
    folder = flags[1:2] == b"d" or path.endswith(b"/")
    moved = flags[:1] in b"<>" and flags[1:2] == b"f"
    return Item(path.rstrip(b"/"), _number(size), folder, moved)


def _number(text: bytes) -> int:
    digits = re.sub(rb"[,.]", b"", text)[:19]
    return int(digits or b"0")

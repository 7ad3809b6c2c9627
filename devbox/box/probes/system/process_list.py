"""The processes that use most of the box, from /proc; elsewhere through psutil.

A look at every process costs far more than the rest of a sample, so it is taken seldom: every
`EVERY` seconds, and never so often that looking takes more than a thousandth of a core.
"""

from __future__ import annotations

import os
import time
from typing import Callable, Dict, List, NamedTuple, Optional, Tuple

from devbox.box.probes.system import PROC, Part

try:
    import psutil
except ImportError:
    psutil = None  # type: ignore[assignment]  # why: the one way to say that it is missing

EVERY = 5.0  # seconds between looks
MOST = 12  # told of one look: half of them for their CPU, the others for their memory
_COST = 1000.0  # a look is followed by so many times its own CPU time without one


class Seen(NamedTuple):
    """One process at one look. born: tells a pid from the one that had it before. cpu: seconds
    used since then; rss: bytes."""

    pid: int
    born: str
    name: str
    cpu: float
    rss: int


class ProcessList:
    """table: takes the look."""

    def __init__(self, table: Optional[Callable[[], List[Seen]]] = None) -> None:
        self._table = table or source()
        self._before: Dict[Tuple[int, str], float] = {}
        self._at = 0.0
        self._due = float("-inf")

    def read(self, now: float) -> Optional[List[Part]]:
        """Rows of `devbox.wire.messages.TopProcess`, the busiest first; None between two looks, and
        for the first one, which has nothing to compare with."""
        if self._table is None or (now < self._due and now >= self._at):
            return None
        began = time.thread_time()
        found = self._table()
        rows = self._compared(found, now - self._at) if self._before and now > self._at else None
        self._before = {(each.pid, each.born): each.cpu for each in found}
        self._at = now
        # the second look comes soon, so that a list shows soon after the start
        wait = EVERY if rows is not None else 1.0
        self._due = now + max(wait, _COST * (time.thread_time() - began))
        return rows

    def _compared(self, found: List[Seen], seconds: float) -> List[Part]:
        rows = []
        for each in found:
            used = each.cpu - self._before.get((each.pid, each.born), each.cpu)
            rows.append((100 * max(0.0, used) / seconds, each))
        busy = sorted(rows, key=lambda row: -row[0])[: MOST // 2]
        large = [row for row in sorted(rows, key=lambda row: -row[1].rss) if row not in busy]
        shown = sorted([*busy, *large[: MOST - len(busy)]], key=lambda row: (-row[0], -row[1].rss))
        return [
            {"pid": each.pid, "name": each.name, "cpu": round(cpu, 1), "mem": each.rss}
            for cpu, each in shown
        ]


def source() -> Optional[Callable[[], List[Seen]]]:
    """How this machine's processes are looked at; None where they cannot be."""
    if (PROC / "self" / "stat").exists():
        return of_proc
    return _of_psutil if psutil else None


def of_proc(proc: str = str(PROC)) -> List[Seen]:
    """Every process of /proc; kernel threads, which hold no memory, are left out. Layout of stat:
    proc(5)."""
    tick, page = 1.0 / os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    found = []
    for pid in os.listdir(proc):
        if not pid.isdigit():
            continue
        try:
            fd = os.open(f"{proc}/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
            try:
                text = os.read(fd, 4096)
            finally:
                os.close(fd)
            # the name in parentheses may itself hold parentheses and spaces
            left, right = text.index(b"("), text.rindex(b")")
            words = text[right + 2 :].split()
            rss = int(words[21]) * page
            if rss > 0:
                name = text[left + 1 : right].decode("utf-8", "replace")
                cpu = (int(words[11]) + int(words[12])) * tick
                found.append(Seen(int(pid), words[19].decode(), name, cpu, rss))
        except (OSError, ValueError, IndexError):
            continue  # it ended meanwhile
    return found


def _of_psutil() -> List[Seen]:
    found = []
    for process in psutil.process_iter(["name", "cpu_times", "memory_info", "create_time"]):
        info = process.info
        times, memory = info["cpu_times"], info["memory_info"]
        if times and memory:  # else another user's
            cpu = times.user + times.system
            born = str(info["create_time"])
            found.append(Seen(process.pid, born, info["name"] or "", cpu, memory.rss))
    return found

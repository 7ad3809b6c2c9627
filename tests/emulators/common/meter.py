"""The provider's own bill, to hold devbox's ledger against."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, replace

from tests.emulators.common.clock import Clock


@dataclass(frozen=True)
class Interval:
    """One billed stretch. ``end`` is ``None`` while it is running; rate in micro-USD per second.

    ``unit``: seconds that are billed whole once they have begun; 0 bills the exact time.
    """

    handle: str
    what: str
    start: float
    end: float | None
    rate: float
    unit: int = 0

    def cost(self, now: float) -> float:
        """Micro-USD up to ``now`` (or to the end)."""
        end = now if self.end is None else min(self.end, now)
        seconds = max(0.0, end - self.start)
        if self.unit:
            seconds = math.ceil(round(seconds, 3) / self.unit) * self.unit
        return seconds * self.rate


class Meter:
    """Opens and closes billed intervals per handle. Safe from any thread."""

    def __init__(self, clock: Clock, unit: int = 0) -> None:
        self._clock, self._unit = clock, unit
        self._closed: list[Interval] = []
        self._open: dict[str, Interval] = {}
        self._lock = threading.Lock()

    def start(self, handle: str, rate: float, what: str = "") -> None:
        """Bill ``handle`` at ``rate`` micro-USD per second from now on, as ``what`` (hardware).

        Changing rate closes the running interval. The same rate and name
        again continues with it.
        """
        with self._lock:
            running = self._open.get(handle)
            if running is not None and (running.rate, running.what) == (rate, what):
                return
            now = self._clock.now()
            self._close(handle, now)
            self._open[handle] = Interval(handle, what, now, None, rate, self._unit)

    def stop(self, handle: str) -> None:
        """End the running interval, if any."""
        with self._lock:
            self._close(handle, self._clock.now())

    def rename(self, handle: str, new: str) -> None:
        """What was billed to ``handle``, and still is, belongs to ``new``."""
        with self._lock:
            self._closed = [
                replace(each, handle=new) if each.handle == handle else each
                for each in self._closed
            ]
            if handle in self._open:
                self._open[new] = replace(self._open.pop(handle), handle=new)

    def total(self, handle: str, now: float | None = None) -> int:
        """Micro-USD that ``handle`` has cost up to ``now``, rounded once at the end."""
        moment = self._clock.now() if now is None else now
        return round(sum(each.cost(moment) for each in self.intervals(handle)))

    def grand_total(self, now: float | None = None) -> int:
        """Micro-USD over all handles."""
        moment = self._clock.now() if now is None else now
        return round(sum(each.cost(moment) for each in self.intervals()))

    def intervals(self, handle: str | None = None) -> list[Interval]:
        """The intervals of one handle, or of all, by start."""
        with self._lock:
            every = [*self._closed, *self._open.values()]
        return sorted(
            (each for each in every if handle is None or each.handle == handle),
            key=lambda each: each.start,
        )

    def billing(self) -> list[str]:
        """Handles that cost money right now (a rate of 0 does not count)."""
        with self._lock:
            return sorted(handle for handle, each in self._open.items() if each.rate > 0)

    def _close(self, handle: str, now: float) -> None:
        running = self._open.pop(handle, None)
        if running is not None:
            self._closed.append(replace(running, end=now))

"""What is said while something takes its time: every 15 s, for how long it has been, of how much,
and what it costs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from devbox.model import Box, Interval
from devbox.state.costs import run_cost
from devbox.text import dollars, duration
from devbox.workspace import Workspace


class Wait:
    """One wait for a box. `now` says what it is at, from the thread that waits; the lines come
    from a thread of their own, so that a call that hangs is told of too."""

    def __init__(self, ws: Workspace, box: Box, doing: str, limit: float | None) -> None:
        self._ws, self._name, self._limit = ws, box.name, limit
        self._price = box.price.micro_per_hour
        self._began = ws.clock()
        self._over = threading.Event()
        self.now(doing, ws.store.ledger.current(box.id))

    def now(self, doing: str, interval: Interval | None) -> None:
        """doing: what completes 'b: … for 45s'. interval: the open one, while it costs."""
        self._at = (doing, interval)

    def tell(self) -> None:
        """Say it every `ws.tell_every` seconds until the wait is over."""
        while not self._over.wait(self._ws.tell_every):
            self._ws.narrate(self.line())

    def end(self) -> None:
        self._over.set()

    def line(self) -> str:
        doing, interval = self._at
        now = self._ws.clock()
        of = f" of at most {duration(self._limit)}" if self._limit is not None else ""
        said = f"{self._name}: {doing} for {duration(max(0.0, now - self._began))}{of}"
        if interval is None:
            rate = dollars(self._price, per_hour=True)
            later = f", {rate} once it runs" if self._price else ""
            return f"{said}; no cost recorded yet{later}"
        micro = interval.price.micro_per_hour
        rate = dollars(micro, per_hour=True)
        if micro is None:
            return f"{said}; it costs, at an unknown price"
        return f"{said}; {dollars(run_cost([interval], 0, now))} so far at {rate}"


@contextmanager
def waiting(ws: Workspace, box: Box, doing: str, limit: float | None = None) -> Iterator[Wait]:
    """Narrate what happens inside until it ends. limit: seconds after which the caller gives up."""
    wait = Wait(ws, box, doing, limit)
    thread = threading.Thread(target=wait.tell, daemon=True)
    thread.start()
    try:
        yield wait
    finally:
        wait.end()
        thread.join()

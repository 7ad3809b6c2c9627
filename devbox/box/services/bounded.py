"""A bounded queue: so many requests at work, so many waiting in order, 503 for the others.

    queue = Bounded(in_flight=2, waiting=16)

    async def predict(request):
        async with queue.turn():          # Problem 503 with Retry-After when the queue is full
            image = await request.body()  # inside, so that what waits holds no memory
            return JSONResponse(await model.call(image))

One event loop only. A client that goes away while it waits gives its place back when its handler
is cancelled.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from contextlib import asynccontextmanager
from typing import AsyncIterator, Deque

from devbox.box.services.problem import Problem

_LONGEST = 60  # seconds a client is told to wait at most
_SHARE = 0.2  # of the last duration in the mean


class Bounded:
    """in_flight: requests at work at a time; waiting: further ones that wait, first come first
    served. `busy` and `queued` say how many there are now, `refused` how many ever were."""

    def __init__(self, in_flight: int, waiting: int) -> None:
        if in_flight < 1 or waiting < 0:
            raise ValueError("in_flight is at least 1, waiting at least 0")
        self.in_flight, self.waiting = in_flight, waiting
        self.busy = self.refused = 0
        self._queue: Deque[asyncio.Future[None]] = deque()
        self._mean = 0.0  # seconds of work

    @property
    def queued(self) -> int:
        return len(self._queue)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a place and hold it. Problem 503 at once when too many wait already."""
        if self.busy < self.in_flight:
            self.busy += 1
        elif len(self._queue) >= self.waiting:
            self.refused += 1
            raise Problem(503, self._full(), {"Retry-After": str(self.retry_after())})
        else:
            await self._wait()
        begun = time.monotonic()
        try:
            yield
        finally:
            took = time.monotonic() - begun
            self._mean = took if not self._mean else (1 - _SHARE) * self._mean + _SHARE * took
            self._next()

    def retry_after(self) -> int:
        """Whole seconds, from 1 to 60, until there should be room, by how long requests took."""
        ahead = (len(self._queue) + self.busy) / self.in_flight
        return max(1, min(_LONGEST, math.ceil(ahead * self._mean)))

    async def _wait(self) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._next()  # its turn had come just before
            elif turn in self._queue:
                self._queue.remove(turn)
            raise

    def _next(self) -> None:
        """The place goes to the first that waits, or is free."""
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.busy -= 1

    def _full(self) -> str:
        return f"busy: {self.busy} requests at work, {len(self._queue)} waiting"

"""The emulator's time: the wall clock, a faster one, or one that only a test moves."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(order=True)
class Timer:
    """A callback due at ``when`` (emulator seconds); ``cancel()`` makes it do nothing."""

    when: float
    order: int
    callback: Callable[[], None] = field(compare=False)
    loop: asyncio.AbstractEventLoop = field(compare=False)
    cancelled: bool = field(default=False, compare=False)

    def cancel(self) -> None:
        self.cancelled = True


class Clock:
    """Unix seconds that run at ``speed`` times the wall clock; ``speed=0`` stands still.

    :meth:`advance` jumps ahead from any thread and fires what falls due, in
    order and each at its own moment, so stages that follow one another keep
    their exact lengths inside one jump.
    """

    def __init__(self, *, speed: float = 1.0, start: float | None = None) -> None:
        self.speed = speed
        self._base = time.time() if start is None else start
        self._origin = time.monotonic()
        self._timers: list[Timer] = []
        self._order = itertools.count()
        self._lock = threading.RLock()
        self._frozen: float | None = None

    @classmethod
    def manual(cls, start: float = 1_800_000_000.0) -> Clock:
        """A clock that moves only by :meth:`advance`."""
        return cls(speed=0.0, start=start)

    def now(self) -> float:
        """Seconds since the epoch, in emulator time."""
        with self._lock:
            if self._frozen is not None:
                return self._frozen
            return self._base + (time.monotonic() - self._origin) * self.speed

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Run ``callback`` on the running loop once the clock reaches ``when``."""
        loop = asyncio.get_running_loop()
        timer = Timer(when, next(self._order), callback, loop)
        with self._lock:
            heapq.heappush(self._timers, timer)
        if self.speed > 0 or when <= self.now():
            loop.call_soon(self._wake, timer)
        return timer

    async def sleep(self, seconds: float) -> None:
        """Wait ``seconds`` of emulator time."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def finish() -> None:
            if not done.done():
                done.set_result(None)

        timer = self.call_at(self.now() + seconds, finish)
        try:
            await done
        finally:
            timer.cancel()

    def advance(self, seconds: float) -> float:
        """Jump ahead, firing due timers in order; returns the new time.

        Callable from any thread. Work that a timer only starts (a task) may
        still be running when this returns.
        """
        target = self.now() + seconds
        while (timer := self._pop_due(target)) is not None:
            self._run(timer, at=max(timer.when, self.now()))
        with self._lock:
            self._base, self._origin = target, time.monotonic()
            waiting = list(self._timers) if self.speed > 0 else []
        for timer in waiting:
            timer.loop.call_soon_threadsafe(self._wake, timer)
        return target

    def _pop_due(self, moment: float) -> Timer | None:
        with self._lock:
            while self._timers and self._timers[0].when <= moment:
                timer = heapq.heappop(self._timers)
                if not timer.cancelled:
                    return timer
            return None

    def _wake(self, timer: Timer) -> None:
        """Fire what is due; come back if this timer's moment has not quite arrived."""
        while (due := self._pop_due(self.now())) is not None:
            self._run(due, at=due.when)
        with self._lock:
            pending = timer in self._timers and not timer.cancelled
        if pending and self.speed > 0:
            delay = max(0.001, (timer.when - self.now()) / self.speed)
            timer.loop.call_later(delay, self._wake, timer)

    def _run(self, timer: Timer, at: float) -> None:
        """Run one callback on its own loop with the clock showing ``at``."""

        def fire() -> None:
            with self._lock:
                outer, self._frozen = self._frozen, at
                try:
                    timer.callback()
                finally:
                    self._frozen = outer

        try:
            here = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        if here is timer.loop:
            fire()
            return
        done = threading.Event()

        def fire_and_tell() -> None:
            try:
                fire()
            finally:
                done.set()

        timer.loop.call_soon_threadsafe(fire_and_tell)
        if not done.wait(30):
            raise TimeoutError("the emulator's loop did not run a timer within 30 s")

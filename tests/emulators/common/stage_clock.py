"""Time that passes only in the stages of an emulator, as if nothing else took any."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.emulators.common.clock import Clock, Timer

LONGEST = 600.0
"""Seconds from which a wait is no stage (a build, a start) but a limit, such as a timeout."""


class StageClock(Clock):
    """Begins at the wall clock's time and jumps over each stage as soon as it begins, so that
    :attr:`passed` is what the stages alone would have taken."""

    def __init__(self) -> None:
        self._began = time.time()
        super().__init__(speed=0.0, start=self._began)

    @property
    def passed(self) -> float:
        """Seconds."""
        return self.now() - self._began

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        timer = super().call_at(when, callback)
        if 0 < when - self.now() <= LONGEST:
            timer.loop.call_soon(self._jump, timer)
        return timer

    def _jump(self, timer: Timer) -> None:
        if not timer.cancelled and timer.when > self.now():
            self.advance(timer.when - self.now())

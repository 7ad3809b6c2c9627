"""Where notices arrive. It is down for a while, or takes a notice and does not say so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random

from devbox.box.notices.outbox import Answer
from devbox.wire.notices import Notice

_DOWN = Answer(False, detail="HTTP 503")


class Receiver:
    """clock: the true time. taken: how often each notice came, by its id; told: the notices.
    It drops what it has taken before, as receivers of Standard Webhooks do."""

    def __init__(self, chance: Random, clock: Callable[[], float]) -> None:
        self._chance, self._clock = chance, clock
        self.down: list[tuple[float, float]] = []
        self.taken: Counter[str] = Counter()
        self.unanswered: set[str] = set()
        self.told: dict[str, Notice] = {}

    def is_down(self) -> bool:
        return any(start <= self._clock() < end for start, end in self.down)

    def post(self, notice: Notice) -> Answer:
        if self.is_down():
            return _DOWN
        self.taken[notice.id] += 1
        self.told.setdefault(notice.id, notice)
        if self._chance.random() < 0.03:
            self.unanswered.add(notice.id)
            return Answer(False, detail="the reply was lost")
        return Answer(True)

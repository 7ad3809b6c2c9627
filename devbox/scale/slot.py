"""A worker as the board of a batch knows it: what it holds, does next and costs."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from devbox.model import Piece, Worker, WorkerState
from devbox.scale import schedule

_REST = 0.02  # of a round that takes longer than was thought


class Slot:
    """A worker that is not over. held: its rounds that are not settled, one without pieces where
    those are settled elsewhere; begun: those of them that it has begun; back: those that others
    wait for."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.held: dict[int, tuple[str, ...]] = {}
        self._weights: dict[int, float] = {}
        self.begun: set[int] = set()
        self.back: set[int] = set()
        self.since: float | None = None  # when its first round was seen to be worked on
        self.reachable = True
        self.weight = self.seconds = 0.0
        self.price: int | None = None

    @property
    def rate(self) -> float | None:
        return self.weight / self.seconds if self.weight > 0 and self.seconds > 0 else None

    def hold(self, round_: int, names: Iterable[str], weight: float) -> None:
        self.held[round_] = tuple(names)
        self._weights[round_] = weight

    def release(self, round_: int) -> tuple[str, ...]:
        """The pieces of a round that it no longer holds."""
        self.begun.discard(round_)
        self.back.discard(round_)
        self._weights.pop(round_, None)
        return self.held.pop(round_, ())

    def void(self, round_: int) -> None:
        """It has that round, which counts no more."""
        self.hold(round_, (), 0.0)

    @property
    def due(self) -> set[int]:
        """Rounds that it is to give back, as it has not begun them: those that others wait for,
        those that count no more, and all behind one that it works on and counts no more."""
        ahead = self.held.keys() - self.begun
        if any(not self.held[round_] for round_ in self.begun):
            return ahead
        return {round_ for round_ in ahead if round_ in self.back or not self.held[round_]}

    @property
    def is_spare(self) -> bool:
        """Nothing that it has counts, and it cannot be asked to give it back."""
        void = bool(self.held) and not any(self.held.values())
        return void and (bool(self.begun) or not self.reachable)

    def weigh(self, round_: int) -> float:
        return self._weights[round_]

    def left(self, now: float) -> float:
        """Weight that it was given and has not finished: of the round that it works on, what the
        time since leaves by its speed."""
        left = sum(self._weights.values())
        if self.rate is None or self.since is None or not self.begun:
            return left
        at_work = self._weights[min(self.begun)]
        return left - min(self.rate * max(0.0, now - self.since), (1 - _REST) * at_work)

    def measure(self, weight: float, seconds: float) -> None:
        """It took so long for so much."""
        self.weight += weight
        self.seconds += seconds

    @property
    def is_at_work(self) -> bool:
        """It answers, and may be given rounds."""
        return self.reachable and self.worker.state is WorkerState.OPEN and not self.is_spare


class Round(NamedTuple):
    """Pieces that a worker holds."""

    number: int
    pieces: tuple[str, ...]


class Turn(NamedTuple):
    """What a worker is to be asked next. give: written down as given already."""

    give: Round | None = None
    withdraw: tuple[int, ...] = ()
    close: bool = False


class Changed(NamedTuple):
    """What is to be written down in one transaction."""

    pieces: list[Piece]
    workers: list[Worker]


class Ceiling:
    """What a batch may cost at most. limit: micro-dollars, None for any cost; spent: as the ledger
    has it now."""

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.spent = 0

    def affords(
        self, seconds: float, price: int | None, slots: Collection[Slot], now: float
    ) -> bool:
        """Whether so much more of a worker fits, after all that is under way. price: micro-dollars
        an hour; one that is not known fits under no limit."""
        if self.limit is None:
            return True
        if price is None:
            return False
        committed = float(self.spent)
        for slot in slots:
            left = slot.left(now)
            took = left / slot.rate if slot.rate else schedule.LEAST * bool(left)
            committed += took * (slot.price or 0) / 3600
        return committed + seconds * price / 3600 <= self.limit


def highest_price(slots: Collection[Slot]) -> int | None:
    """Of any worker, in micro-dollars an hour; None where one is not known."""
    prices = [slot.price for slot in slots]
    return None if None in prices else max(filter(None, prices), default=0)

"""A worker as the board of a batch knows it."""

from __future__ import annotations

from collections.abc import Iterable

from devbox.model import Worker, WorkerState

_REST = 0.02  # of a round that takes longer than was thought


class Slot:
    """A worker that is not over. held: its rounds that are not settled; begun: those of them that
    it has begun; back: those that others wait for."""

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
        self._weights.pop(round_, None)
        return self.held.pop(round_, ())

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
        return self.reachable and self.worker.state is WorkerState.OPEN

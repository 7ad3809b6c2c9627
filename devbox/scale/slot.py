"""A worker as the board of a batch knows it."""

from __future__ import annotations

from collections.abc import Mapping

from devbox.model import Piece, Worker, WorkerState

_REST = 0.02  # of a round that takes longer than was thought


class Slot:
    """A worker that is not over. held: its rounds that are not settled; begun: those of them that
    it has begun; back: those that others wait for."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.held: dict[int, tuple[str, ...]] = {}
        self.begun: set[int] = set()
        self.back: set[int] = set()
        self.since: float | None = None  # when its first round was seen to be worked on
        self.reachable = True
        self.weight = self.seconds = 0.0
        self.price: int | None = None

    @property
    def rate(self) -> float | None:
        return self.weight / self.seconds if self.weight > 0 and self.seconds > 0 else None

    def left(self, pieces: Mapping[str, Piece], now: float) -> float:
        """Weight that it was given and has not finished: of the round that it works on, what the
        time since leaves by its speed."""
        left = sum(pieces[name].weight for names in self.held.values() for name in names)
        if self.rate is None or self.since is None or not self.begun:
            return left
        at_work = sum(pieces[name].weight for name in self.held[min(self.begun)])
        return left - min(self.rate * max(0.0, now - self.since), (1 - _REST) * at_work)

    def measure(self, weight: float, seconds: float) -> None:
        """It took so long for so much."""
        self.weight += weight
        self.seconds += seconds

    @property
    def is_at_work(self) -> bool:
        """It answers, and may be given rounds."""
        return self.reachable and self.worker.state is WorkerState.OPEN

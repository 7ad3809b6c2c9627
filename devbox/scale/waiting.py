"""The pieces of a batch that wait: those that are new together, and those that failed or were lost
before each in a round of its own, so that what is wrong with one is no other's trouble."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from devbox.model import Piece
from devbox.scale import schedule
from devbox.scale.schedule import Load, Pool

_BLAMED = 2  # workers lost at work on a piece from which it is given alone


class Waiting:
    """pieces: all of the batch, as they are at any time."""

    def __init__(self, pieces: Mapping[str, Piece]) -> None:
        self._pieces = pieces
        self._pool = Pool()
        self._alone: list[str] = []

    def __len__(self) -> int:
        return len(self._pool) + len(self._alone)

    @property
    def weight(self) -> float:
        return self._pool.weight + sum(self._pieces[name].weight for name in self._alone)

    def add(self, names: Iterable[str]) -> None:
        pooled: list[str] = []
        for name in names:
            piece = self._pieces[name]
            alone = piece.tries > 0 or piece.lost >= _BLAMED
            (self._alone if alone else pooled).append(name)
        self._pool.add(self.light(pooled))

    def take(self, loads: Iterable[Load], worker: int, *, lag: float) -> list[str]:
        """The next round of those that go together, no longer waiting."""
        return [piece.name for piece in self._pool.take(loads, worker, lag=lag)]

    def take_alone(self, worker: int, *, others: bool) -> str | None:
        """The first of those that go alone; not one that this worker failed on, while there are
        others."""
        for name in self._alone:
            if self._pieces[name].worker != worker or not others:
                self._alone.remove(name)
                return name
        return None

    def light(self, names: Iterable[str]) -> list[schedule.Piece]:
        return [schedule.Piece(name, self._pieces[name].weight) for name in names]

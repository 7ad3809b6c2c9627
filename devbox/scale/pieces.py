"""The pieces of a batch: which wait, and what becomes of one that a worker had.

Those that wait go together where they are new; those that failed or were lost before go each in a
round of its own, so that what is wrong with one is no other's trouble. A piece that another worker
has as well, which `also_worker` says, is that one's alone from now on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from devbox.model import Piece, PieceState
from devbox.scale import schedule
from devbox.scale.schedule import Load, Pool

TRIES = 2  # workers that a piece may fail on
LOSSES = 3  # workers that may be lost while at work on a piece
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


def waits(piece: Piece) -> Piece:
    """It was given back before it was begun."""
    state = PieceState.GIVEN if piece.also_worker else PieceState.WAITING
    return replace(piece, state=state, also_worker=0, also_round=0)


def lost(piece: Piece, *, at_work: bool) -> Piece:
    """Its worker is lost, or over. at_work: while it was at work on it."""
    times = piece.lost + at_work
    if times < LOSSES or piece.also_worker:
        return waits(replace(piece, lost=times))
    error = f"{times} workers were lost while they were at work on it"
    return replace(piece, state=PieceState.FAILED, lost=times, error=error)


def finished(piece: Piece, took: float, error: str | None) -> Piece:
    """It was worked on to its end, in that many seconds; error: why it failed. Its first failure
    has it wait for another worker."""
    piece = replace(piece, seconds=took, also_worker=0, also_round=0)
    if error is None:
        return replace(piece, state=PieceState.DONE, error="")
    tries = piece.tries + 1
    state = PieceState.FAILED if tries >= TRIES else PieceState.WAITING
    return replace(piece, state=state, tries=tries, error=error)


def dropped(piece: Piece, gone: str | None) -> Piece:
    """It was never sent. gone: why it cannot be."""
    if gone is None or piece.also_worker:
        return waits(piece)
    return replace(piece, state=PieceState.FAILED, error=gone)

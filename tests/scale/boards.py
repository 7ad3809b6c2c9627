"""Boards of batches whose workers do as a test says."""

from __future__ import annotations

from collections.abc import Iterable

from devbox.model import Piece
from devbox.scale.board import Board
from devbox.scale.slot import Round


def pieces(weights: Iterable[float]) -> list[Piece]:
    return [Piece(f"p{at}", float(weight)) for at, weight in enumerate(weights)]


def opened(board: Board, count: int) -> list[int]:
    numbers = []
    for _ in range(count):
        number = board.start("b").workers[-1].number
        board.place(number, box_id=f"id{number}", price=3_600_000_000)
        board.open(number, f"run-w{number}")
        numbers.append(number)
    return numbers


def settled(board: Board, number: int, seconds: float, **failed: str) -> Round:
    """Its next round, worked."""
    given = board.turn(number)[0].give
    assert given
    board.heard(number, [given.number], [])
    board.settle(number, given.number, seconds, failed)
    return given

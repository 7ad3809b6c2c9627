"""How many workers are started in all."""

from __future__ import annotations

from devbox.model import Piece
from devbox.scale.board import Board


def test_no_more_than_three_times_as_many_as_were_asked_for_are_started() -> None:
    board = Board((Piece(f"p{at}", 1.0) for at in range(1000)), least=2, most=2)
    started = 0
    while wanted := board.wanted():
        numbers = [board.start("b").workers[-1].number for _ in range(wanted)]
        started += wanted
        for number in numbers:
            board.place(number, box_id="x", price=1)
            board.open(number, "run")
        for number in numbers:
            given = board.turn(number)[0].give
            assert given
            board.settle(number, given.number, 1.0, {})
            board.end(number, "gone")
    assert started == 6
    assert board.waiting

"""Which pieces which worker is given next, when a batch grows, and what becomes of failures."""

from __future__ import annotations

from devbox.model import PieceState, WorkerState
from devbox.scale.board import Board
from devbox.scale.pieces import LOSSES
from devbox.scale.slot import Round
from tests.scale.boards import opened, pieces, settled


def test_a_failed_piece_is_tried_alone_on_another_worker_then_fails() -> None:
    board = Board(pieces([1, 1, 1]), least=2, most=2)
    one, two = opened(board, 2)
    first = settled(board, one, 1.0, p2="no", p1="no", p0="no").pieces
    assert len(first) == 1
    while given := board.turn(one)[0].give:
        assert given.pieces != first
        board.settle(one, given.number, 1.0, {})
    assert not board.turn(one)[0].close  # it may be needed still
    assert board.turn(two)[0].give == Round(1, first)
    board.settle(two, 1, 1.0, {first[0]: "no again"})
    failed = board.pieces[first[0]]
    assert (failed.state, failed.tries, failed.error) == (PieceState.FAILED, 2, "no again")
    assert board.finished
    assert board.turn(one)[0].close
    assert board.turn(two)[0].close


def test_the_last_worker_tries_a_failed_piece_itself() -> None:
    board = Board(pieces([1]), least=1, most=1)
    (one,) = opened(board, 1)
    settled(board, one, 1.0, p0="no")
    settled(board, one, 1.0)
    assert board.pieces["p0"].state is PieceState.DONE


def busy_and_idle() -> tuple[Board, int, int]:
    """One that was given everything, and one that came later."""
    board = Board(pieces([100] * 20), least=2, most=2)
    (one,) = opened(board, 1)
    settled(board, one, 100.0)
    board.share_out()
    (two,) = opened(board, 1)
    return board, one, two


def test_an_idle_worker_has_a_round_called_back_that_has_not_begun() -> None:
    board, one, two = busy_and_idle()
    assert not board.waiting
    assert board.turn(two)[0] == (None, (), False)
    assert board.stirred() == [one]
    wanted = board.turn(one)[0].withdraw
    assert len(wanted) == 1
    board.heard(one, [], wanted)
    assert board.waiting
    assert board.turn(two)[0].give


def test_a_round_that_has_begun_stays_where_it_is() -> None:
    board, one, two = busy_and_idle()
    board.turn(two)
    board.heard(one, [each.number for each in board.held(one)], [])
    assert not board.turn(one)[0].withdraw
    assert board.turn(two)[0].close


def test_nobody_waits_for_a_round_of_one_that_does_not_answer() -> None:
    board, one, two = busy_and_idle()
    board.turn(two)
    board.reach(one, reachable=False)
    assert board.turn(two)[0].close


def test_a_lost_workers_pieces_wait_again_and_a_third_loss_at_work_fails_one() -> None:
    board = Board(pieces([1]), least=1, most=1)
    for count in range(1, LOSSES + 1):
        (number,) = opened(board, 1)
        given = board.turn(number)[0].give
        assert given
        board.heard(number, [given.number], [])
        board.end(number, "gone")
        assert board.pieces["p0"].lost == count
    assert board.pieces["p0"].state is PieceState.FAILED
    assert board.finished


def test_a_round_that_was_not_begun_is_no_reason_to_blame_its_pieces() -> None:
    board = Board(pieces([1]), least=1, most=1)
    (number,) = opened(board, 1)
    board.turn(number)
    changed = board.end(number, "gone")
    assert changed.pieces[0].lost == 0
    assert changed.workers[0].state is WorkerState.LOST


def test_nothing_more_is_given_once_it_would_pass_the_ceiling() -> None:
    """A worker costs a dollar a second here."""
    board = Board(pieces([1] * 100), least=1, most=4, ceiling=30_000_000)
    (one,) = opened(board, 1)
    board.ceiling.spent = 1_000_000
    settled(board, one, 1.0)
    board.ceiling.spent = 11_000_000
    turn = board.turn(one)[0]
    assert (turn.give, turn.close) == (None, True)
    assert board.stopped
    assert not board.wanted()


def test_an_unknown_price_fits_under_no_ceiling() -> None:
    board = Board(pieces([1] * 3), least=1, most=1, ceiling=30_000_000)
    number = board.start("b").workers[-1].number
    board.place(number, box_id="x", price=None)
    board.open(number, "run")
    assert board.turn(number)[0].close


def test_it_grows_while_another_worker_pays() -> None:
    board = Board(pieces([1] * 1000), least=1, most=3)
    assert board.wanted() == 1
    (one,) = opened(board, 1)
    assert not board.wanted()  # nothing is measured yet
    settled(board, one, 10.0)
    assert board.wanted() == 1
    number = board.start("b").workers[-1].number
    assert not board.wanted()  # one at a time
    board.place(number, box_id="x", price=1)
    board.open(number, "run")
    opened(board, 1)
    assert not board.wanted()  # no more than it may


def test_a_batch_that_ends_within_a_start_does_not_grow() -> None:
    board = Board(pieces([1] * 20), least=1, most=8)
    (one,) = opened(board, 1)
    settled(board, one, 1.0)
    assert not board.wanted()


def test_workers_that_all_fail_before_they_work_are_not_replaced_without_end() -> None:
    board = Board(pieces([1] * 20), least=2, most=2)
    for _ in range(2):
        assert board.wanted() == 2
        for number in opened(board, 2):
            board.end(number, "its part could not be prepared")
    assert not board.wanted()


def test_all_at_once_gives_every_piece_to_somebody() -> None:
    board = Board(pieces(range(1, 200)), least=3, most=3)
    numbers = opened(board, 3)
    changed = board.share_out()
    held = [name for number in numbers for each in board.held(number) for name in each.pieces]
    assert sorted(held) == sorted(board.pieces)
    assert len(changed.pieces) == 199
    assert all(len(board.held(number)) > 3 for number in numbers)

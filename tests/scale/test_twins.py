"""An idle worker does the last pieces of a slow one too: the first that finishes counts."""

from __future__ import annotations

from devbox.model import Piece, PieceState, Worker, WorkerState
from devbox.scale.board import Board
from devbox.scale.slot import Round
from tests.scale.boards import opened, pieces, settled


def slow_and_idle(*, of: int = 1, ceiling: int | None = None) -> tuple[Board, int, int]:
    """One that has begun the first of its last pieces, each in a round, and one that has nothing.
    Each took a second for a piece; a worker costs a dollar a second."""
    done = [Piece(f"d{at}", 1.0, PieceState.DONE, at + 1, 1, seconds=1.0) for at in range(2)]
    last = [Piece(f"p{at}", 1.0, PieceState.GIVEN, 1, 2 + at) for at in range(of)]
    workers = [Worker(1, "b-1", WorkerState.OPEN, "id1", "run-w1", rounds=1 + of)]
    workers.append(Worker(2, "b-2", WorkerState.OPEN, "id2", "run-w2", rounds=1))
    board = Board([*done, *last], workers, least=2, most=2, ceiling=ceiling, speculate=True)
    for worker in workers:
        board.place(worker.number, box_id=worker.box_id, price=3_600_000_000)
    board.heard(1, [2], [])
    return board, 1, 2


def repeated(board: Board, number: int) -> Round:
    given = board.turn(number)[0].give
    assert given
    return given


def test_what_a_worker_is_late_with_is_given_to_an_idle_one_too() -> None:
    board, one, two = slow_and_idle()
    assert board.turn(two)[0] == (None, (), False), "it stays, as the other may turn out slow"
    board.now = 6.9
    assert board.turn(two)[0] == (None, (), False), "6 s late, 1 s and a gain of 5 s elsewhere"
    board.now = 7.1
    turn, changed = board.turn(two)
    assert turn.give == (2, board.held(one)[0].pieces)
    (piece,) = changed.pieces
    assert (piece.state, piece.worker, piece.round) == (PieceState.GIVEN, one, 2)
    assert (piece.also_worker, piece.also_round) == (two, 2)
    assert changed.workers[0].rounds == 2
    assert (board.settled, board.waiting, board.finished) == (2, 0, False)
    board.heard(two, [2], [])
    board.now = 100.0
    assert board.turn(two)[0].give is None
    assert board.turn(one)[0] == (None, (), False), "it is not given twice to anybody"


def test_without_it_no_piece_is_given_twice() -> None:
    board = Board(pieces([1] * 3), least=2, most=2)
    one, two = opened(board, 2)
    settled(board, one, 1.0)
    settled(board, two, 1.0)
    last = board.turn(one)[0].give
    assert last
    board.heard(one, [last.number], [])
    board.now = 1000.0
    assert board.turn(two)[0].close


def both_at_work() -> tuple[Board, int, int, str]:
    board, one, two = slow_and_idle()
    board.now = 10.0
    (name,) = repeated(board, two).pieces
    board.heard(two, [2], [])
    return board, one, two, name


def test_the_first_that_finishes_counts_and_the_other_changes_nothing() -> None:
    for first in (0, 1):
        board, *workers, name = both_at_work()
        winner, loser = workers[first], workers[1 - first]
        assert isinstance(winner, int)
        assert isinstance(loser, int)
        (done,) = board.settle(winner, 2, 3.0, {}).pieces
        assert (done.state, done.worker, done.seconds, done.also_worker) == (
            PieceState.DONE,
            winner,
            3.0,
            0,
        )
        assert board.finished
        assert board.held(loser) == [Round(2, ())]
        assert board.is_spare(loser)
        assert not board.is_spare(winner)
        assert board.stirred() == [loser]
        assert board.settle(loser, 2, 50.0, {}).pieces == []
        assert board.pieces[name] == done
        assert board.turn(loser)[0].close


def test_one_that_was_not_begun_is_taken_back() -> None:
    board, one, two = slow_and_idle()
    board.now = 10.0
    repeated(board, two)
    board.settle(one, 2, 10.0, {})
    assert not board.is_spare(two)
    assert board.turn(two)[0].withdraw == (2,)
    assert board.heard(two, [], [2]).pieces == []
    assert board.turn(two)[0].close


def test_a_loss_leaves_the_piece_to_the_other() -> None:
    for first in (0, 1):
        board, *workers, name = both_at_work()
        lost, left = workers[first], workers[1 - first]
        assert isinstance(lost, int)
        assert isinstance(left, int)
        (piece,) = board.end(lost, "gone").pieces
        assert (piece.state, piece.worker, piece.lost) == (PieceState.GIVEN, left, 1)
        assert not piece.also_worker
        assert not board.waiting
        board.settle(left, 2, 1.0, {})
        assert board.pieces[name].state is PieceState.DONE
        assert board.finished


def test_a_failure_that_comes_first_counts_and_waits_for_a_second_try() -> None:
    board, one, two, name = both_at_work()
    (piece,) = board.settle(two, 2, 1.0, {name: "no"}).pieces
    assert (piece.state, piece.tries) == (PieceState.WAITING, 1)
    assert board.is_spare(one)
    board.end(one)
    assert repeated(board, two).pieces == (name,), "nobody else is left"


def test_what_waits_behind_a_round_that_counts_no_more_is_taken_back() -> None:
    board, one, two = slow_and_idle(of=2)
    assert len(board.held(one)) == 2
    board.now = 20.0
    again = repeated(board, two)
    board.heard(two, [again.number], [])
    first, behind = board.held(one)
    assert again.pieces == first.pieces
    board.settle(two, again.number, 1.0, {})
    assert not board.is_spare(one)
    assert not board.turn(two)[0].close
    assert board.turn(one)[0].withdraw == (behind.number,)
    board.heard(one, [first.number], [behind.number])
    assert board.is_spare(one)
    assert repeated(board, two).pieces == behind.pieces


def test_what_a_silent_worker_cannot_give_back_is_worked_on_by_another() -> None:
    board, one, two = slow_and_idle(of=2)
    board.reach(one, reachable=False)
    board.now = 20.0
    found = set()
    for _ in range(2):
        again = repeated(board, two)
        board.settle(two, again.number, 1.0, {})
        found |= {*again.pieces}
    assert found == {"p0", "p1"}
    assert board.finished
    assert board.is_spare(one)


def test_both_are_known_to_who_continues() -> None:
    board, one, two, name = both_at_work()
    again = Board(board.pieces.values(), board.workers, least=2, most=2, speculate=True)
    assert again.held(one) == again.held(two) == [Round(2, (name,))]
    assert again.settled == board.settled == 2
    again.settle(two, 2, 1.0, {})
    later = Board(again.pieces.values(), again.workers, least=2, most=2, speculate=True)
    assert later.finished
    assert later.held(one) == []
    later.heard(one, [2], [])  # its box has it still
    assert later.is_spare(one)
    later.heard(two, [77], [])  # what it was never given is not believed
    assert not later.is_spare(two)


def test_no_more_workers_stay_idle_than_rounds_may_be_slow() -> None:
    board, one, two = slow_and_idle()
    (three,) = opened(board, 1)
    assert board.turn(three)[0].close
    board.end(three)
    assert not board.turn(two)[0].close
    board.settle(one, 2, 1.0, {})
    assert board.turn(two)[0].close


def test_nothing_is_repeated_that_would_cost_more() -> None:
    board, _, two = slow_and_idle(ceiling=25_000_000)
    board.now = 10.0
    board.ceiling.spent = 4_000_000
    assert board.turn(two)[0].give
    board, _, two = slow_and_idle(ceiling=25_000_000)
    board.now = 10.0
    board.ceiling.spent = 6_000_000
    assert not board.turn(two)[0].give


def test_a_piece_whose_file_is_gone_stays_with_who_has_it() -> None:
    board, one, two = slow_and_idle()
    board.now = 10.0
    (name,) = repeated(board, two).pieces
    board.drop(two, 2, {name: "its file is no longer on this computer"})
    assert (board.pieces[name].state, board.pieces[name].worker) == (PieceState.GIVEN, one)
    board.now = 100.0
    assert not board.turn(two)[0].give, "it is not tried again and again"


def test_an_idle_worker_stays_for_a_round_that_was_not_seen_to_begin() -> None:
    board = Board(pieces([1] * 3), least=2, most=2, speculate=True)
    one, two = opened(board, 2)
    settled(board, one, 1.0)
    settled(board, two, 1.0)
    last = board.turn(one)[0].give
    assert last
    assert not board.turn(two)[0].close
    board.heard(one, [last.number], [])
    board.now = 10.0
    assert repeated(board, two).pieces == last.pieces

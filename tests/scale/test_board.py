"""Every piece ends done or failed, once, whatever happens to the workers, and what was written down
is enough to continue from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devbox.model import Piece, PieceState, Worker, WorkerState
from devbox.scale.board import Board
from devbox.scale.pieces import LOSSES, TRIES
from devbox.scale.slot import Changed, Round

CHOICES = st.lists(st.integers(0, 999), min_size=40, max_size=400)


class Shop:
    """Boxes as the coordinator meets them, and the store as it would be found by another. Each
    worker finishes two of weight a second, by what it says, and a step takes a minute."""

    def __init__(
        self,
        pieces: Iterable[Piece],
        *,
        least: int = 3,
        poison: Iterable[str] = (),
        speculate: bool = False,
    ):
        self.least, self.speculate = least, speculate
        self.stored = {piece.name: piece for piece in pieces}
        self.workers: dict[int, Worker] = {}
        self.poison = set(poison)
        self.now = 0.0
        self.board: Board
        self.boxes: dict[int, list[Round]] = {}
        self.begun: dict[int, set[int]] = {}
        self.finished: dict[int, list[Round]] = {}
        self.silent: set[int] = set()
        self.merged: Counter[str] = Counter()
        self.repeated = 0
        self.attach()

    def write(self, changed: Changed) -> None:
        self.stored.update((piece.name, piece) for piece in changed.pieces)
        self.workers.update((worker.number, worker) for worker in changed.workers)

    def start(self) -> None:
        for _ in range(self.board.wanted()):
            changed = self.board.start(f"b-{len(self.workers) + 1}")
            self.write(changed)
            number = changed.workers[-1].number
            self.write(self.board.place(number, box_id=f"id{number}", price=1_000_000))
            self.write(self.board.open(number, f"run-w{number}"))
            self.boxes[number], self.begun[number], self.finished[number] = [], set(), []

    def ask(self, number: int) -> None:
        """A turn: what is given arrives, what is asked back comes unless it has begun, and what is
        finished counts, unless it counts no more. A worker that is spare ends."""
        self.now = self.board.now = self.now + 60.0
        if self.board.is_spare(number):
            self.end(number)
            return
        if number in self.silent:
            return
        turn, changed = self.board.turn(number)
        self.write(changed)
        box, begun = self.boxes[number], self.begun[number]
        if turn.give:
            box.append(turn.give)
            self.repeated += self.stored[turn.give.pieces[0]].also_worker == number
        back = tuple(each for each in turn.withdraw if each not in begun)
        box[:] = [each for each in box if each.number not in back]
        waiting = {each.number for each in box} - begun
        self.write(self.board.heard(number, begun, back, waiting))
        if turn.close:
            self.write(self.board.closed(number))
            self.end(number)
            return
        while self.finished[number]:
            self.fetch(number, self.finished[number].pop(0))

    def fetch(self, number: int, done: Round) -> None:
        held = {each.number: each.pieces for each in self.board.held(number)}
        if done.number not in held:
            return
        failed = {name: "bad" for name in held[done.number] if name in self.poison}
        self.merged.update(set(held[done.number]) - set(failed))
        weight = sum(self.stored[name].weight for name in done.pieces)
        self.write(self.board.settle(number, done.number, weight / 2, failed))

    def work(self, number: int) -> None:
        """Its first round begins, or is finished when it had begun, which is seen at once while it
        answers."""
        box, begun = self.boxes[number], self.begun[number]
        if not box:
            return
        if box[0].number not in begun:
            begun.add(box[0].number)
            return
        done = box.pop(0)
        begun.discard(done.number)
        if number in self.silent:
            self.finished[number].append(done)
        else:
            self.fetch(number, done)

    def lose(self, number: int) -> None:
        self.end(number, "it was evicted")

    def end(self, number: int, why: str = "") -> None:
        self.silent.discard(number)
        del self.boxes[number]
        self.write(self.board.end(number, why))

    def cut(self, number: int) -> None:
        """Its connection, or it answers again."""
        self.silent ^= {number}
        self.board.reach(number, reachable=number not in self.silent)

    def attach(self) -> None:
        """Another process continues from what was written down."""
        if self.now:
            assert self.stored == self.board.pieces
        self.board = Board(
            self.stored.values(),
            self.workers.values(),
            least=self.least,
            most=self.least,
            speculate=self.speculate,
        )
        self.board.now = self.now
        for number in self.silent:
            self.board.reach(number, reachable=False)

    def drain(self) -> None:
        """Nothing more happens to anybody, and all answer."""
        for number in list(self.silent):
            self.cut(number)
        for _ in range(100 * len(self.stored) + 1000):
            if self.board.finished and not self.boxes:
                return
            self.start()
            for number in list(self.boxes):
                self.ask(number)
            for number in list(self.boxes):
                self.work(number)
            if not self.boxes and not self.board.wanted() and not self.board.finished:
                self.attach()
        raise AssertionError(f"it does not end: {self.board.waiting} wait")


def test_a_shop_that_speculates_has_pieces_worked_on_twice() -> None:
    """So that the test above is one of that too."""
    shop = Shop(pieces([40] * 3), speculate=True)
    shop.start()
    for step in range(60):
        for number in list(shop.boxes):
            shop.ask(number)
            if (number != 1 or step % 20 == 0) and number in shop.boxes:
                shop.work(number)
    assert shop.repeated
    shop.drain()
    assert set(shop.merged.values()) == {1}


def pieces(weights: Iterable[float]) -> list[Piece]:
    return [Piece(f"p{at}", float(weight)) for at, weight in enumerate(weights)]


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.integers(1, 500), min_size=1, max_size=60),
    st.sets(st.integers(0, 59), max_size=5),
    CHOICES,
    st.booleans(),
)
def test_every_piece_is_settled_once(
    weights: list[int], poison: set[int], choices: list[int], speculate: bool
) -> None:
    shop = Shop(pieces(weights), poison=[f"p{at}" for at in poison], speculate=speculate)
    shop.start()
    for choice in choices:
        live = sorted(shop.boxes)
        if not live or shop.board.finished:
            break
        number = live[choice % len(live)]
        action = choice // 10 % 14
        if action < 6:
            shop.ask(number)
        elif action < 10:
            shop.work(number)
        elif action == 10:
            shop.attach()
        elif action < 13:
            shop.cut(number)
        else:
            shop.lose(number)
            shop.start()
    shop.drain()
    assert speculate or not shop.repeated
    assert shop.stored == shop.board.pieces
    for name, piece in shop.stored.items():
        assert piece.state.is_settled
        assert not piece.also_worker
        assert shop.merged[name] == (piece.state is PieceState.DONE)
        if piece.state is PieceState.FAILED:
            assert piece.tries == TRIES or piece.lost >= LOSSES


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

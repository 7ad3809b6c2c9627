"""Every piece ends done or failed, once, whatever happens to the workers, and what was written down
is enough to continue from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devbox.model import Piece, PieceState, Worker, WorkerState
from devbox.scale.board import LOSSES, TRIES, Board, Changed, Round

CHOICES = st.lists(st.integers(0, 999), min_size=40, max_size=400)


class Shop:
    """Boxes as the coordinator meets them, and the store as it would be found by another."""

    def __init__(self, pieces: Iterable[Piece], *, least: int = 3, poison: Iterable[str] = ()):
        self.least = least
        self.stored = {piece.name: piece for piece in pieces}
        self.workers: dict[int, Worker] = {}
        self.poison = set(poison)
        self.board = Board(self.stored.values(), least=least, most=least)
        self.boxes: dict[int, list[Round]] = {}
        self.begun: dict[int, set[int]] = {}
        self.merged: Counter[str] = Counter()

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
            self.boxes[number], self.begun[number] = [], set()

    def ask(self, number: int) -> None:
        """A turn: what is given arrives, what is asked back comes unless it has begun."""
        turn, changed = self.board.turn(number)
        self.write(changed)
        box, begun = self.boxes[number], self.begun[number]
        if turn.give:
            box.append(turn.give)
        back = tuple(each for each in turn.withdraw if each not in begun)
        box[:] = [each for each in box if each.number not in back]
        self.write(self.board.heard(number, begun, back))
        if turn.close:
            self.write(self.board.closed(number))
            self.write(self.board.end(number))
            del self.boxes[number]

    def work(self, number: int) -> None:
        """Its first round begins, or is finished when it had begun."""
        box, begun = self.boxes[number], self.begun[number]
        if not box:
            return
        if box[0].number not in begun:
            begun.add(box[0].number)
            return
        done = box.pop(0)
        begun.discard(done.number)
        failed = {name: "bad" for name in done.pieces if name in self.poison}
        self.merged.update(set(done.pieces) - set(failed))
        weight = sum(self.stored[name].weight for name in done.pieces)
        self.write(self.board.settle(number, done.number, weight / 2, failed))

    def lose(self, number: int) -> None:
        del self.boxes[number]
        self.write(self.board.end(number, "it was evicted"))

    def attach(self) -> None:
        """Another process continues from what was written down."""
        assert self.stored == self.board.pieces
        self.board = Board(
            self.stored.values(), self.workers.values(), least=self.least, most=self.least
        )

    def drain(self) -> None:
        """Nothing more happens to anybody."""
        for _ in range(100 * len(self.stored) + 1000):
            if self.board.finished:
                return
            self.start()
            for number in list(self.boxes):
                self.ask(number)
            for number in list(self.boxes):
                self.work(number)
            if not self.boxes and not self.board.wanted():
                self.attach()
        raise AssertionError(f"it does not end: {self.board.waiting} wait")


def pieces(weights: Iterable[float]) -> list[Piece]:
    return [Piece(f"p{at}", float(weight)) for at, weight in enumerate(weights)]


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.integers(1, 500), min_size=1, max_size=60),
    st.sets(st.integers(0, 59), max_size=5),
    CHOICES,
)
def test_every_piece_is_settled_once(
    weights: list[int], poison: set[int], choices: list[int]
) -> None:
    shop = Shop(pieces(weights), poison=[f"p{at}" for at in poison])
    shop.start()
    for choice in choices:
        live = sorted(shop.boxes)
        if not live or shop.board.finished:
            break
        number = live[choice % len(live)]
        action = choice // 10 % 12
        if action < 6:
            shop.ask(number)
        elif action < 10:
            shop.work(number)
        elif action == 10:
            shop.attach()
        else:
            shop.lose(number)
            shop.start()
    shop.drain()
    assert shop.stored == shop.board.pieces
    for name, piece in shop.stored.items():
        assert piece.state.is_settled
        assert shop.merged[name] == (piece.state is PieceState.DONE)
        if piece.state is PieceState.FAILED:
            assert piece.tries == TRIES or piece.lost == LOSSES


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
    board.spent = 1_000_000
    settled(board, one, 1.0)
    board.spent = 11_000_000
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

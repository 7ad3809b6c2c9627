"""Every piece ends done or failed, once, whatever happens to the workers, and what was written down
is enough to continue from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devbox.model import Piece, PieceState, Worker
from devbox.scale.board import Board
from devbox.scale.pieces import LOSSES, TRIES
from devbox.scale.slot import Changed, Round
from tests.scale.boards import pieces

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

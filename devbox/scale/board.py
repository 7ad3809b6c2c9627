"""Who holds which pieces of a batch, and what each worker does next. Pure: what happened goes in,
what is to be done and to be written down comes out.

A piece waits, is given in a round to one worker, and ends done or failed. It waits again when its
round is withdrawn before it began, when its worker is lost, or when it failed for the first time;
then another worker tries it, alone in a round.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from devbox.model import Piece, PieceState, Worker, WorkerState
from devbox.scale import schedule
from devbox.scale.schedule import Load
from devbox.scale.slot import Slot
from devbox.scale.waiting import Waiting

TRIES = 2  # workers that a piece may fail on
LOSSES = 3  # workers that may be lost while at work on a piece
STARTS = 60.0  # seconds that a worker takes to begin, before one was seen to


class Round(NamedTuple):
    """Pieces that a worker holds."""

    number: int
    pieces: tuple[str, ...]


class Turn(NamedTuple):
    """What a worker is to be asked next. give: written down as given already."""

    give: Round | None = None
    withdraw: tuple[int, ...] = ()
    close: bool = False


class Changed(NamedTuple):
    """What is to be written down in one transaction."""

    pieces: list[Piece]
    workers: list[Worker]


class Board:
    """pieces, workers: as they were written down. least, most: how many workers. ceiling:
    micro-dollars that all of it may cost; None for any."""

    def __init__(
        self,
        pieces: Iterable[Piece],
        workers: Iterable[Worker] = (),
        *,
        least: int = 1,
        most: int = 1,
        ceiling: int | None = None,
    ) -> None:
        self.pieces = {piece.name: piece for piece in pieces}
        self.least, self.most, self.ceiling = least, most, ceiling
        self.now = 0.0  # set before each call
        self.spent = 0  # micro-dollars, as the ledger has it now
        self.starts = STARTS
        self.stopped = False  # nothing more is given: it would cost more than the ceiling
        self._number = self._begun = self._fruitless = 0
        self._opened = False
        self._slots: dict[int, Slot] = {}
        for worker in workers:
            self._number = max(self._number, worker.number)
            if not worker.state.is_over:
                self._slots[worker.number] = Slot(worker)
        waiting = []
        rounds: dict[tuple[int, int], list[str]] = {}
        for piece in self.pieces.values():
            if piece.state is PieceState.GIVEN and piece.worker in self._slots:
                rounds.setdefault((piece.worker, piece.round), []).append(piece.name)
            elif not piece.state.is_settled:
                waiting.append(piece.name)
            elif piece.seconds and piece.worker in self._slots:
                self._slots[piece.worker].measure(piece.weight, piece.seconds)
        for (number, round_), names in rounds.items():
            self._slots[number].hold(round_, names, self._weigh(names))
        self._waiting = Waiting(self.pieces)
        self._waiting.add(waiting)

    # What is known

    @property
    def finished(self) -> bool:
        """Every piece is done or has failed."""
        return self.settled == len(self.pieces)

    @property
    def settled(self) -> int:
        """How many pieces are done or have failed."""
        given = sum(len(names) for slot in self._slots.values() for names in slot.held.values())
        return len(self.pieces) - self.waiting - given

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def workers(self) -> list[Worker]:
        """Those that are not over."""
        return [slot.worker for slot in self._slots.values()]

    @property
    def seconds_left(self) -> float | None:
        """Until the end, by what was measured."""
        loads = self._loads()
        rates = [load.rate for load in loads if load.rate is not None]
        if not rates:
            return None
        mean = sum(rates) / len(rates)
        together = sum(load.rate or mean for load in loads)
        return (self._waiting.weight + sum(load.left for load in loads)) / together

    def worker(self, number: int) -> Worker | None:
        """None once it is over."""
        slot = self._slots.get(number)
        return slot.worker if slot else None

    def held(self, number: int) -> list[Round]:
        """Its rounds that are not settled, oldest first."""
        slot = self._slots.get(number)
        return [Round(*each) for each in sorted(slot.held.items())] if slot else []

    def seconds_held(self, number: int) -> float | None:
        """How long it has to work on what it holds; None while its speed is not known."""
        slot = self._slots.get(number)
        if slot is None or slot.rate is None:
            return None
        return slot.left(self.now) / slot.rate

    # Workers come and go

    def wanted(self) -> int:
        """How many workers to start now."""
        live = len(self._slots)
        if self.stopped or not self.waiting or self._begun >= 3 * self.most:
            return 0
        if self._begun == 0:
            return max(0, min(self.least, self.waiting) - live)
        if live == 0:
            hopeless = not self._opened or self._fruitless >= 2 * self.least
            return 0 if hopeless else min(self.least, self.waiting)
        if live >= self.most or any(
            slot.worker.state is WorkerState.STARTING for slot in self._slots.values()
        ):
            return 0
        waits = self._waiting.weight
        worth = schedule.worth_another(waits, self._loads(), None, self.starts)
        return 1 if worth and self._affords(self.starts + schedule.LEAST, self._price()) else 0

    def start(self, box_name: str) -> Changed:
        """A new worker, on that box; it is the last of the changed workers."""
        self._number += 1
        self._begun += 1
        worker = Worker(self._number, box_name)
        self._slots[worker.number] = Slot(worker)
        return Changed([], [worker])

    def place(self, number: int, *, box_id: str, price: int | None) -> Changed:
        """Its box is there. price: micro-dollars an hour."""
        self._slots[number].price = price
        return self._update(number, box_id=box_id)

    def open(self, number: int, run: str) -> Changed:
        """Its part runs, and can be given rounds."""
        self._opened = True
        state = self._slots[number].worker.state
        opened = WorkerState.OPEN if state is WorkerState.STARTING else state
        return self._update(number, state=opened, run=run)

    def reach(self, number: int, *, reachable: bool) -> None:
        """Whether it answers: what waits is shared among those that do."""
        if number in self._slots:
            self._slots[number].reachable = reachable

    def closed(self, number: int) -> Changed:
        """It is told that no more rounds come."""
        return self._update(number, state=WorkerState.CLOSED)

    def end(self, number: int, why: str = "") -> Changed:
        """It is over, or lost with a reason: what it holds and has not finished waits again."""
        slot = self._slots.pop(number, None)
        if slot is None:
            return Changed([], [])
        self._fruitless += bool(why)
        changed = []
        for round_, names in slot.held.items():
            for name in names:
                at_work = bool(why) and round_ in slot.begun
                changed.append(self._lost(self.pieces[name], at_work=at_work))
        self._keep(changed)
        state = WorkerState.LOST if why else WorkerState.OVER
        worker = replace(slot.worker, state=state, message=why)
        return Changed(changed, [worker])

    # Rounds come and go

    def turn(self, number: int, *, lag: float = 0.0) -> tuple[Turn, Changed]:
        """What to ask of a worker that answers. lag: seconds until a round that it is given now can
        begin."""
        slot = self._slots[number]
        nothing = Changed([], [])
        back = tuple(sorted(slot.back & slot.held.keys() - slot.begun))
        if slot.worker.state is not WorkerState.OPEN:
            return Turn(), nothing
        if back:
            return Turn(withdraw=back), nothing
        names = [] if self.stopped else self._take(slot, lag)
        if names:
            given = self._give(slot, names)
            return Turn(give=given), self._changed(slot, given.pieces)
        if slot.held:
            return Turn(), nothing
        if self.stopped or not self._call_back(slot):
            return Turn(close=True), nothing
        return Turn(), nothing

    def share_out(self) -> Changed:
        """All that waits, given at once to those that are open: for a laptop that leaves."""
        slots = {n: s for n, s in self._slots.items() if s.worker.state is WorkerState.OPEN}
        names = [n for n, p in self.pieces.items() if p.state is PieceState.WAITING]
        self._waiting = Waiting(self.pieces)
        waiting = [schedule.Piece(name, self.pieces[name].weight) for name in names]
        changed: list[Piece] = []
        loads = [Load(n, s.rate, s.left(self.now), s.weight) for n, s in slots.items()]
        for number, share in schedule.shares(waiting, loads).items():
            for pieces in schedule.rounds(share):
                given = self._give(slots[number], [piece.name for piece in pieces])
                changed += [self.pieces[name] for name in given.pieces]
        return Changed(changed, [slot.worker for slot in slots.values()])

    def heard(self, number: int, begun: Iterable[int], withdrawn: Iterable[int]) -> Changed:
        """What its box says of its rounds: those withdrawn wait again."""
        slot = self._slots[number]
        slot.begun |= set(begun) & slot.held.keys()
        slot.back -= slot.begun
        if slot.begun and slot.since is None:
            slot.since = self.now
        changed = []
        for round_ in set(withdrawn) & slot.held.keys():
            changed += [
                replace(self.pieces[name], state=PieceState.WAITING)
                for name in slot.release(round_)
            ]
            slot.back.discard(round_)
        self._keep(changed)
        return Changed(changed, [])

    def settle(
        self, number: int, round_: int, seconds: float, failed: Mapping[str, str]
    ) -> Changed:
        """A round is finished and its results are here. failed: piece → why. A piece that failed
        for the first time waits for another worker."""
        slot = self._slots[number]
        self._fruitless = 0
        names = slot.release(round_)
        slot.begun.discard(round_)
        slot.back.discard(round_)
        slot.since = self.now if slot.begun else None
        weight = self._weigh(names)
        slot.measure(weight, seconds)
        changed = []
        for name in names:
            piece = self.pieces[name]
            took = seconds * piece.weight / weight if weight else 0.0
            if name not in failed:
                changed.append(replace(piece, state=PieceState.DONE, seconds=took, error=""))
                continue
            tries = piece.tries + 1
            state = PieceState.FAILED if tries >= TRIES else PieceState.WAITING
            changed.append(
                replace(piece, state=state, tries=tries, seconds=took, error=failed[name])
            )
        self._keep(changed)
        return Changed(changed, [])

    def drop(self, number: int, round_: int, gone: Mapping[str, str]) -> Changed:
        """A round that was given and never sent: what is `gone` of it has failed for good, and the
        rest waits again."""
        names = self._slots[number].release(round_)
        changed = []
        for name in names:
            piece = self.pieces[name]
            if name in gone:
                changed.append(replace(piece, state=PieceState.FAILED, error=gone[name]))
            else:
                changed.append(replace(piece, state=PieceState.WAITING))
        self._keep(changed)
        return Changed(changed, [])

    def stirred(self) -> list[int]:
        """Workers that have something to do now, and may not know: a round to give back, or
        nothing while pieces wait."""
        waits = self.waiting > 0
        return [
            number
            for number, slot in self._slots.items()
            if slot.back - slot.begun or (waits and not slot.held)
        ]

    # Inside

    def _take(self, slot: Slot, lag: float) -> list[str]:
        """The pieces of its next round, no longer waiting."""
        number = slot.worker.number
        if not self._affords(schedule.LEAST, slot.price):
            self.stopped = True
            return []
        others = any(n != number and s.is_at_work for n, s in self._slots.items())
        if not slot.held and (name := self._waiting.take_alone(number, others=others)):
            return [name]
        return self._waiting.take(self._loads(among=number), number, lag=lag)

    def _call_back(self, slot: Slot) -> bool:
        """Have a busy worker give back a round that this idle one could work on; whether something
        may still come to it."""
        if any(s.back for s in self._slots.values() if s.reachable):
            return True
        given = [
            schedule.Given(n, round_, tuple(self._waiting.light(names)))
            for n, s in self._slots.items()
            if s.reachable and s.worker.state is WorkerState.OPEN
            for round_, names in s.held.items()
            if round_ not in s.begun
        ]
        number = slot.worker.number
        found = schedule.to_withdraw(self._loads(among=number), given, number)
        if found:
            self._slots[found.worker].back.add(found.number)
        return found is not None or self.waiting > 0

    def _give(self, slot: Slot, names: Sequence[str]) -> Round:
        number = slot.worker.rounds + 1
        slot.worker = replace(slot.worker, rounds=number)
        slot.hold(number, names, self._weigh(names))
        for name in names:
            self.pieces[name] = replace(
                self.pieces[name],
                state=PieceState.GIVEN,
                worker=slot.worker.number,
                round=number,
            )
        return Round(number, tuple(names))

    def _weigh(self, names: Iterable[str]) -> float:
        return sum(self.pieces[name].weight for name in names)

    def _changed(self, slot: Slot, names: Iterable[str]) -> Changed:
        return Changed([self.pieces[name] for name in names], [slot.worker])

    def _lost(self, piece: Piece, *, at_work: bool) -> Piece:
        lost = piece.lost + at_work
        if lost < LOSSES:
            return replace(piece, state=PieceState.WAITING, lost=lost)
        error = f"{lost} workers were lost while they were at work on it"
        return replace(piece, state=PieceState.FAILED, lost=lost, error=error)

    def _keep(self, changed: Sequence[Piece]) -> None:
        self.pieces.update((piece.name, piece) for piece in changed)
        self._waiting.add(p.name for p in changed if p.state is PieceState.WAITING)

    def _loads(self, among: int = 0) -> list[Load]:
        return [
            Load(n, slot.rate, slot.left(self.now), slot.weight)
            for n, slot in self._slots.items()
            if n == among or slot.is_at_work
        ]

    def _price(self) -> int | None:
        """The highest of any worker."""
        prices = [slot.price for slot in self._slots.values()]
        return None if None in prices else max(filter(None, prices), default=0)

    def _affords(self, seconds: float, price: int | None) -> bool:
        """Whether so much more of a worker fits under the ceiling, after all that is under way."""
        if self.ceiling is None:
            return True
        if price is None:
            return False
        committed = float(self.spent)
        for slot in self._slots.values():
            left = slot.left(self.now)
            took = left / slot.rate if slot.rate else schedule.LEAST * bool(left)
            committed += took * (slot.price or 0) / 3600
        return committed + seconds * price / 3600 <= self.ceiling

    def _update(self, number: int, **fields: object) -> Changed:
        slot = self._slots[number]
        slot.worker = replace(slot.worker, **fields)
        return Changed([], [slot.worker])

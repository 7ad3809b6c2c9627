"""Who holds which pieces of a batch, and what each worker does next. Pure: what happened goes in,
what is to be done and to be written down comes out.

A piece waits, is given in a round to one worker, and ends done or failed. It waits again when its
round is withdrawn before it began, when its worker is lost, or when it failed for the first time;
then another worker tries it, alone in a round.

With `speculate`, the pieces of a round that is begun are also given to a worker that would finish
them sooner. They count where they are finished first; the other round is then void: given back
where it was not begun, and else its worker is spare.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from devbox.model import Piece, PieceState, Worker, WorkerState
from devbox.scale import pieces, schedule
from devbox.scale.pieces import Waiting
from devbox.scale.schedule import Load
from devbox.scale.slot import Ceiling, Changed, Round, Slot, Turn, highest_price
from devbox.scale.twins import Twins

STARTS = 60.0  # seconds that a worker takes to begin, before one was seen to

Numbers = Iterable[int]


class Board:
    """pieces, workers: as they were written down. least, most: how many workers. ceiling:
    micro-dollars that all of it may cost; None for any. speculate: see above."""

    def __init__(
        self,
        pieces: Iterable[Piece],
        workers: Iterable[Worker] = (),
        *,
        least: int = 1,
        most: int = 1,
        ceiling: int | None = None,
        speculate: bool = False,
    ) -> None:
        self.pieces = {piece.name: piece for piece in pieces}
        self.least, self.most, self.speculate = least, most, speculate
        self.ceiling = Ceiling(ceiling)
        self.now = 0.0  # set before each call
        self.starts = STARTS
        self.stopped = False  # nothing more is given: it would cost more than the ceiling
        self._number = self._begun = self._fruitless = 0
        self._opened = False
        self._slots: dict[int, Slot] = {}
        self._twins = Twins()
        for worker in workers:
            self._number = max(self._number, worker.number)
            if not worker.state.is_over:
                self._slots[worker.number] = Slot(worker)
        waiting = []
        rounds: dict[tuple[int, int], list[str]] = {}
        for piece in self.pieces.values():
            keys = [(piece.worker, piece.round), (piece.also_worker, piece.also_round)]
            keys = [key for key in keys if key[0] in self._slots]
            if piece.state is PieceState.GIVEN and keys:
                for key in keys:
                    rounds.setdefault(key, []).append(piece.name)
                if len(keys) > 1:
                    self._twins.join(*keys)
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
        return len(self.pieces) - self.waiting - given + self._twins.again(self._slots)

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

    def is_spare(self, number: int) -> bool:
        """Whether all that it works on was finished by others."""
        slot = self._slots.get(number)
        return slot is not None and slot.is_spare

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
        return 1 if worth and self._affords(self.starts + schedule.LEAST) else 0

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
        slot = self._slots.get(number)
        if slot is None:
            return Changed([], [])
        self._fruitless += bool(why)
        changed = []
        for round_ in list(slot.held):
            at_work = bool(why) and round_ in slot.begun
            changed += [pieces.lost(p, at_work=at_work) for p in self._release(slot, round_)]
        del self._slots[number]
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
        back = tuple(sorted(slot.due))
        if slot.worker.state is not WorkerState.OPEN:
            return Turn(), nothing
        if back:
            return Turn(withdraw=back), nothing
        names = [] if self.stopped or slot.is_spare else self._take(slot, lag)
        if names:
            given = self._give(slot, names)
        elif slot.held or self._may_come(slot):
            return Turn(), nothing
        elif (again := self._repeat(slot, lag)) is not None:
            given = again
        else:
            may = self.speculate and not self.stopped
            stays = may and self._twins.may_come(self._slots)
            return Turn(close=not stays), nothing
        return Turn(give=given), Changed([self.pieces[n] for n in given.pieces], [slot.worker])

    def share_out(self) -> Changed:
        """All that waits, given at once to those that are open: for a laptop that leaves."""
        slots = {n: s for n, s in self._slots.items() if s.worker.state is WorkerState.OPEN}
        names = [n for n, p in self.pieces.items() if p.state is PieceState.WAITING]
        self._waiting = Waiting(self.pieces)
        waiting = [schedule.Piece(name, self.pieces[name].weight) for name in names]
        changed: list[Piece] = []
        loads = [Load(n, s.rate, s.left(self.now), s.weight) for n, s in slots.items()]
        for number, share in schedule.shares(waiting, loads).items():
            for together in schedule.rounds(share):
                given = self._give(slots[number], [piece.name for piece in together])
                changed += [self.pieces[name] for name in given.pieces]
        return Changed(changed, [slot.worker for slot in slots.values()])

    def heard(
        self, number: int, begun: Numbers, withdrawn: Numbers, waiting: Numbers = ()
    ) -> Changed:
        """What its box says of its rounds: those withdrawn wait again. What it was given and does
        not hold any more counts no more."""
        slot = self._slots[number]
        for round_ in {*begun, *waiting} - slot.held.keys():
            if 0 < round_ <= slot.worker.rounds:
                slot.void(round_)
        slot.begun |= set(begun) & slot.held.keys()
        slot.back -= slot.begun
        if slot.begun and slot.since is None:
            slot.since = self.now
        changed = []
        for round_ in set(withdrawn) & slot.held.keys():
            changed += [pieces.waits(piece) for piece in self._release(slot, round_)]
        self._keep(changed)
        return Changed(changed, [])

    def settle(
        self, number: int, round_: int, seconds: float, failed: Mapping[str, str]
    ) -> Changed:
        """A round is finished and its results are here. failed: piece → why. A piece that failed
        for the first time waits for another worker. One that counts no more changes nothing."""
        slot = self._slots[number]
        self._fruitless = 0
        names = slot.release(round_)
        if other := self._twins.part((number, round_)):
            self._slots[other[0]].void(other[1])
        slot.since = self.now if slot.begun else None
        weight = self._weigh(names)
        slot.measure(weight, seconds if names else 0.0)
        changed = []
        for name in names:
            piece = replace(self.pieces[name], worker=number, round=round_)
            took = seconds * piece.weight / weight if weight else 0.0
            changed.append(pieces.finished(piece, took, failed.get(name)))
        self._keep(changed)
        return Changed(changed, [])

    def drop(self, number: int, round_: int, gone: Mapping[str, str]) -> Changed:
        """A round that was given and never sent: what is `gone` of it has failed, and the
        rest waits again."""
        released = self._release(self._slots[number], round_)
        changed = [pieces.dropped(piece, gone.get(piece.name)) for piece in released]
        self._keep(changed)
        return Changed(changed, [])

    def stirred(self) -> list[int]:
        """Workers that have something to do now, and may not know: a round to give back, only such
        as count no more, or nothing while pieces wait."""
        waits = self.waiting > 0
        return [
            number
            for number, slot in self._slots.items()
            if slot.due or slot.is_spare or (waits and not slot.held)
        ]

    # Inside

    def _take(self, slot: Slot, lag: float) -> list[str]:
        """The pieces of its next round, no longer waiting."""
        number = slot.worker.number
        if not self._affords(schedule.LEAST, slot):
            self.stopped = True
            return []
        others = any(n != number and s.is_at_work for n, s in self._slots.items())
        if not slot.held and (name := self._waiting.take_alone(number, others=others)):
            return [name]
        return self._waiting.take(self._loads(among=number), number, lag=lag)

    def _may_come(self, slot: Slot) -> bool:
        """Have a busy worker give back a round that this idle one could work on; whether something
        may still come to it of what nobody has begun."""
        if self.stopped:
            return False
        if any(s.due for s in self._slots.values() if s.reachable):
            return True
        given = [
            schedule.Given(n, round_, tuple(self._waiting.light(names)))
            for n, s in self._slots.items()
            if s.reachable and s.worker.state is WorkerState.OPEN
            for round_, names in s.held.items()
            if round_ not in s.begun and (n, round_) not in self._twins
        ]
        number = slot.worker.number
        found = schedule.to_withdraw(self._loads(among=number), given, number)
        if found:
            self._slots[found.worker].back.add(found.number)
        return found is not None or self.waiting > 0

    def _repeat(self, slot: Slot, lag: float) -> Round | None:
        """A round that another has begun and this one would finish sooner, given to it as well."""
        if self.stopped or not self.speculate:
            return None
        number = slot.worker.number
        found = self._twins.find(self._slots, self._loads(silent=True), number, lag, self.now)
        if found is None:
            return None
        rate = slot.rate or max(s.rate or 0.0 for s in self._slots.values())
        if not self._affords(found.weight / rate, slot):
            return None
        again = self._next(slot, self._slots[found.worker].held[found.number])
        self._twins.join((found.worker, found.number), (number, again.number))
        for name in again.pieces:
            held = self.pieces[name]
            self.pieces[name] = replace(held, also_worker=number, also_round=again.number)
        return again

    def _give(self, slot: Slot, names: Sequence[str]) -> Round:
        given = self._next(slot, names)
        for name in names:
            self.pieces[name] = replace(
                self.pieces[name],
                state=PieceState.GIVEN,
                worker=slot.worker.number,
                round=given.number,
            )
        return given

    def _next(self, slot: Slot, names: Sequence[str]) -> Round:
        number = slot.worker.rounds + 1
        slot.worker = replace(slot.worker, rounds=number)
        slot.hold(number, names, self._weigh(names))
        return Round(number, tuple(names))

    def _release(self, slot: Slot, round_: int) -> list[Piece]:
        """The pieces of a round that its worker no longer holds. Those that another has as well are
        that one's alone from now on, which `also_worker` says of what is returned."""
        names = slot.release(round_)
        other = self._twins.part((slot.worker.number, round_))
        if other is None:
            return [self.pieces[name] for name in names]
        fields = {"worker": other[0], "round": other[1]}
        return [replace(self.pieces[name], **fields, also_worker=other[0]) for name in names]

    def _weigh(self, names: Iterable[str]) -> float:
        return sum(self.pieces[name].weight for name in names)

    def _keep(self, changed: Sequence[Piece]) -> None:
        self.pieces.update((piece.name, piece) for piece in changed)
        self._waiting.add(p.name for p in changed if p.state is PieceState.WAITING)

    def _loads(self, among: int = 0, *, silent: bool = False) -> list[Load]:
        """Of those that may be given rounds, and `among`. silent: also of who does not answer."""
        return [
            Load(n, slot.rate, slot.left(self.now), slot.weight)
            for n, slot in self._slots.items()
            if n == among or slot.is_at_work or silent
        ]

    def _affords(self, seconds: float, slot: Slot | None = None) -> bool:
        """Whether so much more of that worker, or of the dearest, fits under the ceiling."""
        slots = self._slots.values()
        price = slot.price if slot else highest_price(slots)
        return self.ceiling.affords(seconds, price, slots, self.now)

    def _update(self, number: int, **fields: object) -> Changed:
        slot = self._slots[number]
        slot.worker = replace(slot.worker, **fields)
        return Changed([], [slot.worker])

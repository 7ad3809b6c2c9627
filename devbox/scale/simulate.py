"""What a batch would do: its pieces over workers, by discrete events. Pure; one seed, one outcome.

What waits, what is given and what changes its worker is decided by `schedule`, as in a real batch.
Simulated are the workers' starts, the seconds of each piece, the way of a round from this computer
(its own work, one round after the other; the files, over one line; the wait for the box), and the
loss of workers. Results are taken to travel beside the work.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Sequence
from typing import NamedTuple

from devbox.scale.schedule import Given, Load, Piece, Pool, to_withdraw, worth_another

_BUSIEST = 0.05  # of this computer that is left for rounds, however many it watches
_ASKED = (0.5, 0.75, 0.9)  # parts of a round after which its worker is asked for the next


class Item(NamedTuple):
    """A piece with what only its end tells. weight: what is known of it before. seconds: on a
    worker of speed 1. bytes: of its files."""

    name: str
    weight: float
    seconds: float
    bytes: int = 0


class World(NamedTuple):
    """start: seconds until a worker that is asked for can work, of which `billed` are paid. load:
    further seconds until it begins its first piece, such as for its model. bring, dispatch: seconds
    of this computer's own time to bring up a worker, and to give a round and fetch what it made.
    watch: the share of this computer that asking one worker how it is takes. trip: seconds until a
    box has a round, without its files. upload: bytes a second; 0 where sending takes no time.
    lost_every: mean seconds of a worker's life; 0 where none is lost. notice: seconds until a loss
    is known. speeds: of the workers in turn."""

    start: float = 0.0
    billed: float = 0.0
    load: float = 0.0
    bring: float = 0.0
    dispatch: float = 0.0
    watch: float = 0.0
    trip: float = 0.0
    upload: float = 0.0
    lost_every: float = 0.0
    notice: float = 30.0
    speeds: tuple[float, ...] = (1.0,)


class Outcome(NamedTuple):
    """seconds: until the last piece was finished. paid: seconds of each worker. worked, waited:
    seconds of all workers, the latter once they could work. sent: seconds that the line was busy;
    dispatched: that this computer was. again: seconds worked that a loss took. limit: what keeps
    more workers from being faster, as a few words."""

    seconds: float
    paid: tuple[float, ...]
    rounds: int
    worked: float
    waited: float
    sent: float
    dispatched: float
    lost: int
    again: float
    limit: str


def simulate(items: Sequence[Item], workers: int, world: World, *, seed: int = 0) -> Outcome:
    """The batch with so many workers. A lost one is replaced where that is worth its start; the
    last that is left is never lost."""
    return _Batch(items, workers, world, seed).run()


class _Round(NamedTuple):
    given: Given
    weight: float
    arrives: float


class _Worker:
    def __init__(self, number: int, speed: float, asked: float, world: World) -> None:
        self.number, self.speed = number, speed
        self.ready = asked + world.start
        self.since = asked + world.start - world.billed  # paid from
        self.until = math.inf
        self.loaded = False
        self.queue: list[_Round] = []
        self.current: _Round | None = None
        self.begun = self.ends = 0.0
        self.weight = self.busy = 0.0  # of the rounds that are finished
        self.lag = 0.0

    def speed_known(self) -> float:
        return self.weight / self.busy if self.busy else math.inf

    def load(self, now: float) -> Load:
        left = math.fsum(each.weight for each in self.queue) if self.queue else 0.0
        if self.current and self.ends > now:
            left += self.current.weight * min(1.0, (self.ends - now) / (self.ends - self.begun))
        rate = self.weight / self.busy if self.busy else None
        return Load(self.number, rate, left, self.weight)


class _Batch:
    def __init__(self, items: Sequence[Item], workers: int, world: World, seed: int) -> None:
        self._world = world
        self._items = {item.name: item for item in items}
        self._pool = Pool(Piece(item.name, item.weight) for item in items)
        self._open = len(items)
        self._count = workers
        self._events: list[tuple[float, int, str, int, Given | None]] = []
        self._now = self._line_free = self._free = 0.0
        self._sent = self._dispatched = self._waited = self._again = 0.0
        self._rounds = self._lost = self._away = self._order = 0
        self._chance = random.Random(seed)  # noqa: S311 - a simulation
        self._workers: list[_Worker] = []
        self._there: dict[int, _Worker] = {}
        self._idle: dict[int, float] = {}  # worker → since when
        for number in range(workers):
            self._hire(number * world.bring)

    def run(self) -> Outcome:
        while self._open:
            self._now, _, kind, number, given = heapq.heappop(self._events)
            worker = self._workers[number]
            if kind == "back" and given:
                self._away -= 1
                self._pool.add(given.pieces)
                self._ask_idle()
            elif worker.until == math.inf:
                self._happens(kind, worker, given)
        for worker in self._workers:
            worker.until = min(worker.until, max(self._now, worker.since))
        for since in self._idle.values():
            self._waited += self._now - since
        worked = math.fsum(w.busy for w in self._workers)
        return Outcome(
            self._now,
            tuple(w.until - w.since for w in self._workers),
            self._rounds,
            worked,
            self._waited,
            self._sent,
            self._dispatched,
            self._lost,
            self._again,
            self._limit(worked),
        )

    def _hire(self, asked: float) -> None:
        world, number = self._world, len(self._workers)
        worker = _Worker(number, world.speeds[number % len(world.speeds)], asked, world)
        self._workers.append(worker)
        self._at(worker.ready, "ready", number)
        if world.lost_every:
            life = self._chance.expovariate(1 / world.lost_every)
            self._at(worker.ready + life, "lost", number)

    def _happens(self, kind: str, worker: _Worker, given: Given | None) -> None:
        if kind == "ready":
            self._there[worker.number] = worker
            self._idle[worker.number] = self._now
            self._ask(worker)
        elif kind == "lost":
            self._lose(worker)
        elif kind == "arrived":
            self._begin(worker)
        elif worker.current and worker.current.given is given:  # "ask": of the round it works
            if self._now >= worker.ends:
                self._finish(worker)
            elif not worker.queue:
                self._ask(worker)

    def _finish(self, worker: _Worker) -> None:
        assert worker.current
        worker.weight += worker.current.weight
        worker.busy += worker.ends - worker.begun
        self._open -= len(worker.current.given.pieces)
        worker.current = None
        self._idle[worker.number] = self._now
        self._begin(worker)
        self._ask(worker)
        self._ask_idle()

    def _ask_idle(self) -> None:
        """The fastest first: a piece that it is not given ends later on a slower one."""
        idle = [self._there[number] for number in self._idle if number in self._there]
        idle = [worker for worker in idle if not worker.queue]
        for worker in sorted(idle, key=_Worker.speed_known, reverse=True):
            if not self._ask(worker) and worker.busy and len(self._pool):
                return

    def _ask(self, worker: _Worker) -> bool:
        """Give it its next round, if there is one for it. One that has nothing, and for which there
        is nothing, ends."""
        number = worker.number
        loads = [each.load(self._now) for each in self._there.values()]
        if pieces := self._pool.take(loads, number, lag=worker.lag):
            self._give(worker, pieces)
            return True
        if not worker.current and not worker.queue and not len(self._pool):
            queued = [r.given for each in self._there.values() for r in each.queue]
            if back := to_withdraw(loads, queued, number):
                loser = self._workers[back.worker]
                loser.queue = [r for r in loser.queue if r.given is not back]
                self._pool.add(back.pieces)
                if not loser.current and not loser.queue:
                    self._idle.setdefault(loser.number, self._now)
                took = self._ask(worker)
                self._ask(loser)
                return took
            if not self._away:
                self._end(worker)
        return False

    def _give(self, worker: _Worker, pieces: list[Piece]) -> None:
        world, now = self._world, self._now
        self._rounds += 1
        given = Given(worker.number, self._rounds, tuple(pieces))
        takes = world.dispatch / max(_BUSIEST, 1 - world.watch * len(self._there))
        self._free = max(self._free, now) + takes
        self._dispatched += takes
        arrives = self._free + world.trip
        if world.upload:
            sending = sum(self._items[piece.name].bytes for piece in pieces) / world.upload
            self._line_free = max(self._line_free, self._free) + sending
            self._sent += sending
            arrives = max(arrives, self._line_free + world.trip)
        worker.lag = arrives - now
        weight = math.fsum(piece.weight for piece in pieces)
        worker.queue.append(_Round(given, weight, arrives))
        self._at(arrives, "arrived", worker.number)

    def _begin(self, worker: _Worker) -> None:
        if worker.current or not worker.queue or worker.queue[0].arrives > self._now:
            return
        self._waited += self._now - self._idle.pop(worker.number)
        worker.current = worker.queue.pop(0)
        given = worker.current.given
        seconds = math.fsum(self._items[piece.name].seconds for piece in given.pieces)
        worker.begun = self._now + (0.0 if worker.loaded else self._world.load)
        worker.loaded = True
        worker.ends = worker.begun + seconds / worker.speed
        for part in _ASKED:
            at = worker.begun + (worker.ends - worker.begun) * part
            self._at(at, "ask", worker.number, given)
        self._at(worker.ends, "ask", worker.number, given)

    def _lose(self, worker: _Worker) -> None:
        if len(self._there) == 1:
            return
        self._lost += 1
        given = [r.given for r in worker.queue]
        if worker.current:
            given.append(worker.current.given)
            self._again += max(0.0, self._now - worker.begun)
        for each in given:
            self._at(self._now + self._world.notice, "back", worker.number, each)
        self._away += len(given)
        worker.current, worker.queue = None, []
        self._end(worker)
        self._ask_idle()
        weight = self._pool.weight + math.fsum(p.weight for each in given for p in each.pieces)
        loads = [each.load(self._now) for each in self._there.values()]
        if worth_another(weight, loads, None, self._world.start + self._world.load):
            self._hire(self._now)

    def _end(self, worker: _Worker) -> None:
        worker.until = self._now
        del self._there[worker.number]
        self._waited += self._now - self._idle.pop(worker.number, self._now)

    def _at(self, when: float, kind: str, worker: int, given: Given | None = None) -> None:
        self._order += 1
        heapq.heappush(self._events, (when, self._order, kind, worker, given))

    def _limit(self, worked: float) -> str:
        """The bound that the time comes nearest to, of what more workers do not move."""
        world = self._world
        first = world.start + world.load
        longest = max((i.seconds for i in self._items.values()), default=0.0)
        asked = self._workers[: self._count]
        starting = sum(min(self._now, worker.ready + world.load) for worker in asked)
        bounds = {
            "sending the files": self._sent,
            "giving rounds": self._dispatched,
            "the longest piece": first + longest / max(world.speeds),
            "starting workers": 0.0 if starting < worked else self._now,
        }
        name = max(bounds, key=lambda each: bounds[each])
        return name if bounds[name] >= 0.8 * self._now else "the work"

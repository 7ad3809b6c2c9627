"""Which pieces of a batch which worker is given next. Pure.

Guided self-scheduling (Polychronopoulos and Kuck, IEEE Transactions on Computers C-36, 1987): a
worker that runs out is given a part of what is left, so that rounds are long at first and short at
the end. The largest pieces go first (Graham's longest processing time). A piece that would end
after the batch's best possible end goes to the worker that finishes it first, so that a slow worker
never begins what a faster one, though busy, would finish sooner.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

LEAST = 20.0  # seconds of work in a round, while there is that much
MOST = 600.0
PIECES = 1000  # in one round, so that a message with their names stays small
GAIN = 5.0  # seconds sooner that the end must come for a round to change its worker
_PARTS = 4  # of a worker's share of the rest: what it has begun stays with it, if it becomes slow
_TRUST = 4  # times what was measured: a few pieces may tell a wrong rate
_PRIOR = 4  # pieces at the speed of all, beside what a worker has finished itself
_ALIKE = math.log(1.05)  # rates within 5 % count as one when a worker is looked for
_EXACT = 1 + 1e-9  # sums of floats in another order


class Piece(NamedTuple):
    """What is never split. weight: above 0, in any unit that its seconds grow with, such as frames
    or bytes."""

    name: str
    weight: float


class Load(NamedTuple):
    """A worker. rate: weight a second, as measured, above 0; None before anything was. left: weight
    that it was given and has not finished. done: weight that it has finished, from which the rate
    is."""

    worker: int
    rate: float | None = None
    left: float = 0.0
    done: float = math.inf


class Given(NamedTuple):
    """A round that its worker has not begun."""

    worker: int
    number: int
    pieces: tuple[Piece, ...]


class Going(NamedTuple):
    """A round that its worker has. weight: of its pieces. seconds: that it has been worked on; 0
    where it has not begun. may: whether another worker may begin it as well."""

    worker: int
    number: int
    weight: float
    seconds: float
    may: bool = True


class Pool:
    """The pieces that wait, the largest first. weight: of all of them."""

    def __init__(self, pieces: Iterable[Piece] = ()) -> None:
        self._pieces: list[Piece] = []
        self.weight = self._typical = 0.0
        self.add(pieces)

    def __len__(self) -> int:
        return len(self._pieces)

    def add(self, pieces: Iterable[Piece]) -> None:
        """Those of a lost worker or of a withdrawn round wait again."""
        more = [*pieces]
        if not more:
            return
        self._pieces = order([*self._pieces, *more])
        self.weight = math.fsum(piece.weight for piece in self._pieces)
        self._typical = self._typical or self.weight / max(1, len(self))

    def take(
        self,
        loads: Iterable[Load],
        worker: int,
        *,
        least: float = LEAST,
        most: float = MOST,
        lag: float = 0.0,
    ) -> list[Piece]:
        """The next round of `worker`, removed from the pool: [] when it holds enough, or when each
        piece ends sooner on another. Of at most `most` seconds and PIECES pieces, unless it is one
        piece alone; while no rate is known, the lightest piece and one more, as any worker may be
        the slow one; later its worker holds at most four times what it has finished.

        loads: all workers that can be given pieces now, `worker` among them; one that cannot be
        reached is left out, as others would wait for it. lag: seconds until a round that is given
        now can begin. To be asked for each worker whenever one has finished something."""
        if not self._pieces:
            return []
        told = {load.worker: load for load in loads}
        mine, rates = told[worker], _rates(told.values(), self._typical)
        rate = rates[worker]
        rest = (self.weight + sum(load.left for load in told.values())) / sum(rates.values())
        seconds = min(most, max(least, rest / _PARTS))
        trusted = mine.done * _TRUST
        enough = min(rate * max(seconds / 2, lag), rate * rest / 2, trusted / 2)
        if mine.rate is None:
            enough = self._pieces[-1].weight * _EXACT  # as much as one light piece ahead
        if 0 < enough <= mine.left:
            return []
        if all(load.rate is None for load in told.values()):
            return self._remove(len(self._pieces) - 1, len(self._pieces))
        if mine.rate is None:
            seconds = least
        fits = (rate * rest - mine.left) * _EXACT
        start = self._first(told.values(), rates, worker, fits)
        if start is None:
            return []
        weight, stop = self._pieces[start].weight, start + 1
        room = min(rate * seconds, fits, trusted - mine.left)
        for piece in self._pieces[stop : start + PIECES]:
            weight += piece.weight
            if weight > room:
                break
            stop += 1
        return self._remove(start, stop)

    def _first(
        self, loads: Iterable[Load], rates: Mapping[int, float], worker: int, fits: float
    ) -> int | None:
        """Where the largest piece is that `worker` finishes by the best possible end, or before any
        other does. The pieces that are passed over each weigh more than half of its own share of
        the rest, so that there are at most 2 × (all rates ÷ its rate) of them."""
        ends = _Ends(loads, rates)
        for at, piece in enumerate(self._pieces):
            if piece.weight <= fits or ends.place(piece.weight) == worker:
                return at
        return None

    def _remove(self, start: int, stop: int) -> list[Piece]:
        taken = self._pieces[start:stop]
        del self._pieces[start:stop]
        self.weight -= math.fsum(piece.weight for piece in taken)
        if not self._pieces:
            self.weight = 0.0
        return taken


def order(pieces: Iterable[Piece]) -> list[Piece]:
    """The largest first; those of the same weight stay as they are."""
    return sorted(pieces, key=lambda piece: -piece.weight)


def shares(pieces: Iterable[Piece], loads: Sequence[Load]) -> dict[int, list[Piece]]:
    """All pieces at once, by worker, for a laptop that leaves: each to the worker that finishes it
    first."""
    ends = _Ends(loads, _rates(loads))
    found: dict[int, list[Piece]] = {load.worker: [] for load in loads}
    for piece in order(pieces):
        found[ends.place(piece.weight)].append(piece)
    return found


def rounds(share: Sequence[Piece], count: int = 8) -> list[list[Piece]]:
    """A worker's share in about `count` rounds of about the same weight, of at most PIECES pieces,
    so that what it has finished can be fetched before the rest is."""
    each = math.fsum(piece.weight for piece in share) / count
    found: list[list[Piece]] = []
    weight = math.inf
    for piece in share:
        if weight + piece.weight > each * _EXACT or len(found[-1]) == PIECES:
            found.append([])
            weight = 0.0
        found[-1].append(piece)
        weight += piece.weight
    return found


def to_withdraw(
    loads: Sequence[Load], given: Iterable[Given], worker: int, *, gain: float = GAIN
) -> Given | None:
    """The round that `worker`, for which nothing waits, takes over in part or whole: the last one
    of the worker that ends latest, where a piece of it would end `gain` seconds sooner. Its pieces
    go back to the pool, which shares them out. None where nothing is worth it."""
    rates = _rates(loads)
    left = {load.worker: load.left for load in loads}
    last: dict[int, Given] = {}
    for each in sorted(given, key=lambda each: each.number):
        if each.worker in left and each.worker != worker and each.pieces:
            last[each.worker] = each
    for each in sorted(last.values(), key=lambda e: -left[e.worker] / rates[e.worker]):
        lightest = min(piece.weight for piece in each.pieces)
        ends = (left[worker] + lightest) / rates[worker]
        if ends + gain <= left[each.worker] / rates[each.worker]:
            return each
    return None


def to_repeat(
    loads: Iterable[Load], going: Iterable[Going], worker: int, *, lag: float = 0.0
) -> Going | None:
    """The round that `worker`, for which nothing waits, begins as well (`--speculate`): of those
    that would end GAIN seconds sooner there, the one that ends last where it is. None for none, and
    while no rate is known. A round that takes longer than its worker's rate says is taken to need
    as long again as it is late. lag: seconds until `worker` can begin."""
    told = [*loads]
    if all(load.rate is None for load in told):
        return None
    rates = _rates(told)
    ends: dict[int, float] = {}
    found, last = None, 0.0
    for each in sorted(going, key=lambda each: (each.worker, each.number)):
        if each.worker == worker:
            continue
        left = abs(each.weight / rates[each.worker] - each.seconds)
        end = ends[each.worker] = ends.get(each.worker, 0.0) + left
        sooner = lag + each.weight / rates[worker] + GAIN <= end
        if each.may and sooner and end > last:
            found, last = each, end
    return found


def worth_another(waiting: float, loads: Sequence[Load], rate: float | None, start: float) -> bool:
    """Whether one more worker, that begins in `start` seconds, brings the end closer by more than
    the `start` seconds that are paid for nothing. waiting: weight. rate: its own; None for the mean
    of the others. Not while no rate is known."""
    if all(load.rate is None for load in loads):
        return False
    together = sum(_rates(loads).values())
    rate = rate or together / len(loads)
    rest = (waiting + sum(load.left for load in loads)) / together
    with_it = (rest * together + start * rate) / (together + rate)
    return rest - with_it > start


class _Ends:
    """When each worker ends with what it was given, and which one would finish a piece first."""

    def __init__(self, loads: Iterable[Load], rates: Mapping[int, float]) -> None:
        self._groups: dict[int, list[tuple[float, int]]] = {}  # each a heap of ends
        self._rates = rates
        for load in loads:
            rate = rates[load.worker]
            group = self._groups.setdefault(round(math.log(rate) / _ALIKE), [])
            group.append((load.left / rate, load.worker))
        for group in self._groups.values():
            heapq.heapify(group)

    def place(self, weight: float) -> int:
        """The worker that finishes so much more first, which has it from now on."""
        best: list[tuple[float, int]] = []
        first = (math.inf, 0)
        for group in self._groups.values():
            end, worker = group[0]
            ends = (end + weight / self._rates[worker], worker)
            if ends < first:
                best, first = group, ends
        heapq.heapreplace(best, first)
        return first[1]


def _rates(loads: Iterable[Load], typical: float = 0.0) -> dict[int, float]:
    """Of each worker. One that is not measured counts as the mean of the others; one that finished
    few pieces, of the weight `typical`, as something between its own and that of all together."""
    known = [load for load in loads if load.rate is not None]
    seconds = {load.worker: load.done / load.rate for load in known if load.rate}
    ended = [load for load in known if math.isfinite(load.done)]
    if prior := _PRIOR * typical * bool(ended):
        done = math.fsum(load.done for load in ended)
        each = math.fsum(seconds[load.worker] for load in ended) / done * prior
    rates = {}
    for load in known:
        rates[load.worker] = load.rate or 1.0
        if prior and math.isfinite(load.done):
            rates[load.worker] = (load.done + prior) / (seconds[load.worker] + each)
    mean = math.fsum(rates.values()) / len(rates) if rates else 1.0
    return {load.worker: rates.get(load.worker, mean) for load in loads}

"""Pieces are given once each, in few rounds, and workers end together."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devbox.scale import schedule
from devbox.scale.schedule import GAIN, Given, Going, Load, Piece, Pool

WEIGHTS = st.lists(st.floats(0.01, 1000.0), min_size=1, max_size=120)
RATES = st.lists(st.floats(0.5, 2.0), min_size=1, max_size=8)  # up to 4 times as fast


class Workshop:
    """Workers with true rates, asked and given rounds at each end of a piece, as a coordinator
    does. known: their rates are told before; else each is measured at its first piece."""

    def __init__(
        self, pieces: Sequence[Piece], rates: Sequence[float], *, known: bool = False
    ) -> None:
        self.pool = Pool(pieces)
        self.rates = list(rates)
        self.told = dict(enumerate(rates)) if known else {}  # as measured
        self.now = 0.0
        self.number = 0
        self.rounds: list[list[Given]] = [[] for _ in rates]  # the first one is worked
        self.within = [0] * len(rates)  # pieces of it that are finished
        self.ends = [math.inf] * len(rates)
        self.done: list[tuple[str, int]] = []
        self.longest = 0.0
        self.withdrawn = 0

    def run(self) -> float:
        """Until nothing is left: seconds."""
        self._ask()
        while any(self.rounds):
            worker = min(range(len(self.rates)), key=lambda w: self.ends[w])
            self.now = self.ends[worker]
            given = self.rounds[worker][0]
            self.done.append((given.pieces[self.within[worker]].name, worker))
            self.told[worker] = self.rates[worker]
            self.within[worker] += 1
            if self.within[worker] == len(given.pieces):
                self.rounds[worker].pop(0)
                self.within[worker] = 0
            self._begin(worker)
            self._ask()
        assert not len(self.pool)
        return self.now

    def loads(self) -> list[Load]:
        return [Load(w, self.told.get(w), self._left(w)) for w in range(len(self.rates))]

    def _left(self, worker: int) -> float:
        names = [p for g in self.rounds[worker] for p in g.pieces][self.within[worker] :]
        return math.fsum(p.weight for p in names)

    def _ask(self) -> None:
        for worker in sorted(range(len(self.rates)), key=self._left):
            while pieces := self.pool.take(self.loads(), worker):
                assert len(pieces) <= schedule.PIECES
                seconds = math.fsum(p.weight for p in pieces) / self.rates[worker]
                if len(pieces) > 1:
                    self.longest = max(self.longest, seconds)
                self.number += 1
                self.rounds[worker].append(Given(worker, self.number, tuple(pieces)))
                self._begin(worker)
            if not self.rounds[worker]:
                queued = [g for own in self.rounds for g in own[1:]]
                back = schedule.to_withdraw(self.loads(), queued, worker, gain=0.001)
                if back:
                    self.withdrawn += 1
                    self.rounds[back.worker].remove(back)
                    self.pool.add(back.pieces)
                    return self._ask()
        return None

    def _begin(self, worker: int) -> None:
        if not self.rounds[worker]:
            self.ends[worker] = math.inf
        elif self.ends[worker] <= self.now or self.ends[worker] == math.inf:
            piece = self.rounds[worker][0].pieces[self.within[worker]]
            self.ends[worker] = self.now + piece.weight / self.rates[worker]


def pieces_of(weights: Sequence[float]) -> list[Piece]:
    return [Piece(f"p{at}", weight) for at, weight in enumerate(weights)]


def least_possible(weights: Sequence[float], rates: Sequence[float]) -> float:
    return max(math.fsum(weights) / math.fsum(rates), max(weights) / max(rates))


def even(weights: Sequence[float], rates: Sequence[float]) -> float:
    """Seconds when all end together: less is not possible."""
    return math.fsum(weights) / math.fsum(rates)


@settings(deadline=None)
@given(WEIGHTS, RATES, st.booleans())
def test_each_piece_is_worked_once_and_nobody_waits_for_more_than_one(
    weights: list[float], rates: list[float], known: bool
) -> None:
    shop = Workshop(pieces_of(weights), rates, known=known)
    took = shop.run()
    assert sorted(name for name, _ in shop.done) == sorted(p.name for p in pieces_of(weights))
    assert shop.longest <= schedule.MOST * 1.001
    assert took <= (even(weights, rates) + max(weights) / min(rates)) * 1.001
    assert shop.number <= 2 * len(weights) + shop.withdrawn
    assert shop.withdrawn <= len(weights)


@settings(deadline=None)
@given(st.lists(st.floats(10.0, 40.0), min_size=80, max_size=160), RATES)
def test_workers_of_different_speed_end_together(weights: list[float], rates: list[float]) -> None:
    """At least ten pieces a worker, which differ by up to four times as the workers do."""
    assert Workshop(pieces_of(weights), rates).run() <= 1.25 * even(weights, rates)


@settings(deadline=None)
@given(WEIGHTS, st.integers(1, 8))
def test_workers_of_one_speed_that_is_known_keep_grahams_bound(
    weights: list[float], workers: int
) -> None:
    took = Workshop(pieces_of(weights), [1.0] * workers, known=True).run()
    assert took <= (even(weights, [1.0] * workers) + max(weights) * (1 - 1 / workers)) * 1.001


def test_the_largest_goes_to_who_finishes_it_first_though_that_one_is_busy() -> None:
    pool = Pool([Piece("large", 400.0), Piece("small", 4.0)])
    loads = [Load(0, 1.0, 0.0), Load(1, 4.0, 200.0)]
    assert [p.name for p in pool.take(loads, 0)] == ["small"], "large would take it 400 s"
    assert pool.take(loads, 0) == []
    assert [p.name for p in pool.take(loads, 1)] == []  # it still holds enough
    assert [p.name for p in pool.take([Load(0, 1.0), Load(1, 4.0)], 1)] == ["large"]
    assert (len(pool), pool.weight) == (0, 0.0)


def test_a_worker_of_unknown_speed_begins_with_the_lightest_pieces() -> None:
    pool = Pool(pieces_of([5.0, 1.0, 9.0]))
    assert pool.take([Load(0), Load(1)], 0) == [Piece("p1", 1.0)]
    assert pool.take([Load(0, None, 1.0), Load(1)], 0) == [Piece("p0", 5.0)]
    assert Pool([Piece("p2", 9.0)]).take([Load(0, None, 10.0), Load(1)], 0) == []
    assert pool.take([Load(0, 1.0, 0.1), Load(1)], 1) == [Piece("p2", 9.0)]


def test_a_rate_is_trusted_as_far_as_it_was_measured() -> None:
    pool = Pool(pieces_of([1.0] * 1000))
    fast = Load(0, 50.0, 0.0, done=1.0)  # one light piece, over in no time
    assert len(pool.take([fast, Load(1, 1.0)], 0)) == 4
    assert pool.take([fast._replace(left=2.0), Load(1, 1.0)], 0) == []
    assert len(pool.take([Load(0, 50.0, 0.0, done=30.0), Load(1, 1.0)], 0)) == 120


def test_rounds_are_long_at_first_and_short_at_the_end() -> None:
    pool = Pool(pieces_of([1.0] * 10_000))
    sizes = []
    while len(pool):
        sizes.append(len(pool.take([Load(w, 2.0) for w in range(4)], 0)))
    assert sizes[0] == 625, "a quarter of its 1,250 s"
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 2 * schedule.LEAST
    fast = [Load(w, 200.0) for w in range(4)]
    assert len(Pool(pieces_of([1.0] * 100_000)).take(fast, 0)) == schedule.PIECES
    assert len(Pool(pieces_of([1.0] * 9_000)).take([Load(0, 1.0)], 0)) == schedule.MOST
    far = Pool(pieces_of([1.0] * 100))
    assert far.take([Load(0, 1.0, 30.0), Load(1, 1.0)], 0) == [], "it has half a round ahead"
    assert far.take([Load(0, 1.0, 30.0), Load(1, 1.0)], 0, lag=40.0), "which begins in 40 s"


def test_a_worker_that_becomes_slow_loses_what_it_has_not_begun() -> None:
    slow = Workshop(pieces_of([1.0] * 400), [1.0, 1.0], known=True)
    slow.rates[0] = 0.1
    assert slow.run() == pytest.approx(500.0), "a quarter of its 200 s had begun"
    loads = [Load(0, 0.1, 40.0), Load(1, 1.0, 0.0), Load(2, 1.0, 30.0)]
    waiting = [Given(0, 1, (Piece("a", 5.0),)), Given(0, 2, (Piece("b", 30.0), Piece("c", 5.0)))]
    waiting.append(Given(2, 3, (Piece("d", 26.0),)))
    assert schedule.to_withdraw(loads, waiting, 1) == waiting[1], "the last of the slowest"
    assert schedule.to_withdraw(loads, waiting[2:], 1) is None, "4 s are not worth a round"
    assert schedule.to_withdraw(loads, waiting[2:], 1, gain=3.0) == waiting[2]
    assert schedule.to_withdraw(loads[1:], waiting[:2], 1) is None, "it cannot be reached"
    assert schedule.to_withdraw(loads, waiting, 0) is None


@given(
    st.lists(st.floats(0.01, 100.0), min_size=1, max_size=200),
    st.lists(st.tuples(st.none() | st.floats(0.5, 2.0), st.floats(0, 500)), min_size=1, max_size=8),
    st.floats(0, 100),
)
def test_somebody_is_given_pieces_unless_all_hold_some(
    weights: list[float], workers: list[tuple[float | None, float]], lag: float
) -> None:
    idle = [Load(w, rate, 0.0) for w, (rate, _) in enumerate(workers)]
    taken = [Pool(pieces_of(weights)).take(idle, load.worker, lag=lag) for load in idle]
    assert any(taken)
    busy = [Load(w, rate, left) for w, (rate, left) in enumerate(workers)]
    for load in busy:
        pool = Pool(pieces_of(weights))
        got = pool.take(busy, load.worker, lag=lag)
        assert len(got) + len(pool) == len(weights)
        assert pool.weight == pytest.approx(math.fsum(weights) - math.fsum(p.weight for p in got))


@pytest.fixture
def placed(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Every piece that was compared over all workers."""
    seen: list[float] = []
    place = schedule._Ends.place

    def counted(self: schedule._Ends, weight: float) -> int:
        seen.append(weight)
        return place(self, weight)

    monkeypatch.setattr(schedule._Ends, "place", counted)
    return seen


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.floats(0.001, 100.0), min_size=1, max_size=300),
    st.lists(st.tuples(st.floats(0.5, 2.0), st.floats(0, 500)), min_size=1, max_size=8),
    st.floats(0, 100),
)
def test_a_round_is_found_without_looking_through_the_pool(
    placed: list[float], weights: list[float], workers: list[tuple[float, float]], lag: float
) -> None:
    loads = [Load(w, rate, left) for w, (rate, left) in enumerate(workers)]
    for load in loads:
        placed.clear()
        Pool(pieces_of(weights)).take(loads, load.worker, lag=lag)
        assert len(placed) <= 2 * sum(rate for rate, _ in workers) / (load.rate or 1) + 1


def test_a_hundred_thousand_pieces_take_few_rounds_and_few_comparisons(
    placed: list[float],
) -> None:
    pool = Pool(Piece(str(at), 1.0 + at % 7) for at in range(100_000))
    workers, rounds, now, ends = 256, 0, 0.0, [0.0] * 256
    while len(pool):
        worker = min(range(workers), key=ends.__getitem__)
        now = ends[worker]
        loads = [Load(w, 1.0, max(0.0, end - now)) for w, end in enumerate(ends)]
        if got := pool.take(loads, worker):
            rounds += 1
            ends[worker] += math.fsum(piece.weight for piece in got)
        else:
            ends[worker] = min(end for end in ends if end > now)
    assert max(ends) <= 400_000 / workers * 1.01
    assert rounds <= workers * 20
    assert len(placed) <= 4 * rounds


@settings(deadline=None)
@given(WEIGHTS, RATES, st.integers(1, 12))
def test_shares_for_a_laptop_that_leaves_hold_each_piece_once(
    weights: list[float], rates: list[float], count: int
) -> None:
    loads = [Load(w, rate) for w, rate in enumerate(rates)]
    found = schedule.shares(pieces_of(weights), loads)
    assert list(found) == list(range(len(rates)))
    assert sorted(p for share in found.values() for p in share) == sorted(pieces_of(weights))
    ends = [math.fsum(p.weight for p in found[w]) / rate for w, rate in enumerate(rates)]
    most = even(weights, rates) + (len(rates) - 1) * max(weights) / math.fsum(rates)
    assert max(ends) <= most * 1.06
    for share in found.values():
        split = schedule.rounds(share, count)
        assert [p for each in split for p in each] == share
        assert all(split)
        assert len(split) <= 2 * count


def test_a_share_of_many_small_pieces_is_split_into_rounds_that_can_be_told() -> None:
    split = schedule.rounds(pieces_of([1.0] * 20_500))
    assert {len(each) for each in split} == {schedule.PIECES, 500} - {500} | {len(split[-1])}
    assert sum(map(len, split)) == 20_500
    assert schedule.rounds([]) == []


def test_one_more_worker_is_worth_its_start_or_not() -> None:
    two = [Load(0, 1.0, 100.0), Load(1, None, 100.0)]
    assert schedule.worth_another(3400.0, two, None, 180.0)  # 1,800 s become 1,260
    assert not schedule.worth_another(400.0, two, None, 180.0)  # 300 s become 260
    assert not schedule.worth_another(3400.0, two, 0.1, 180.0), "a slow one saves 77 s"
    assert not schedule.worth_another(3400.0, [Load(0, None, 9.0)], None, 1.0), "nothing is known"


GOING = st.lists(
    st.builds(
        Going,
        st.integers(0, 3),
        st.integers(1, 9),
        st.floats(0.1, 1000.0),
        st.floats(0, 1000.0),
        st.booleans(),
    ),
    max_size=12,
    unique_by=lambda each: each[:2],
)


@given(GOING, st.lists(st.floats(0.1, 10.0), min_size=4, max_size=4), st.floats(0, 60))
def test_a_round_is_repeated_only_where_it_ends_sooner(
    going: list[Going], rates: list[float], lag: float
) -> None:
    found = schedule.to_repeat([Load(w, rate) for w, rate in enumerate(rates)], going, 0, lag=lag)

    def ends(each: Going) -> float:
        ahead = [g for g in going if g.worker == each.worker and g.number <= each.number]
        return sum(abs(g.weight / rates[g.worker] - g.seconds) for g in ahead)

    able = [
        each
        for each in going
        if each.worker != 0 and each.may and lag + each.weight / rates[0] + GAIN < ends(each) - 1e-6
    ]
    if found is None:
        assert not able
        return
    assert found.may
    assert found.worker != 0
    assert lag + found.weight / rates[0] + GAIN <= ends(found) + 1e-6
    assert all(ends(each) <= ends(found) + 1e-6 for each in able)


def test_nothing_is_repeated_while_no_speed_is_known() -> None:
    late = Going(1, 1, 1.0, 1000.0)
    assert schedule.to_repeat([Load(0), Load(1)], [late], 0) is None
    assert schedule.to_repeat([Load(0, 1.0), Load(1)], [late], 0) == late
    assert schedule.to_repeat([Load(0), Load(1, 1.0)], [late], 0) == late, "as fast as the mean"

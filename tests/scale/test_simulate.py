"""The simulation agrees with what can be reckoned by hand, and is the same for a seed."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devbox.scale.simulate import Item, World, simulate


def items(seconds: list[float], bytes: int = 0) -> list[Item]:
    return [Item(f"i{at}", 1.0, each, bytes) for at, each in enumerate(seconds)]


def test_one_worker_takes_its_start_its_model_and_every_piece() -> None:
    found = simulate(items([2.0] * 100), 1, World(start=60.0, billed=50.0, load=30.0))
    assert found.seconds == pytest.approx(290.0)
    assert sum(found.paid) == pytest.approx(280.0)
    assert (found.lost, found.again, found.limit) == (0, 0.0, "the work")
    assert found.worked == pytest.approx(200.0)


def test_equal_work_over_four_workers_takes_a_quarter() -> None:
    found = simulate(items([3.0] * 400), 4, World())
    assert found.seconds == pytest.approx(300.0, rel=0.01)
    assert sum(found.paid) == pytest.approx(1200.0, rel=0.01)


def test_a_slow_worker_does_less() -> None:
    found = simulate(items([3.0] * 400), 2, World(speeds=(1.0, 0.25)))
    assert found.seconds == pytest.approx(1200 / 1.25, rel=0.02)


def test_weights_that_tell_nothing_cost_little() -> None:
    """Times that vary by tens, while each piece looks the same."""
    chance = random.Random(3)
    found = items([chance.lognormvariate(2.0, 1.0) for _ in range(1000)])
    total = math.fsum(item.seconds for item in found)
    longest = max(item.seconds for item in found)
    assert simulate(found, 8, World()).seconds <= total / 8 * 1.15 + longest


def test_what_keeps_more_workers_from_being_faster_is_named() -> None:
    many = items([1.0] * 1000, bytes=1_000_000)
    assert simulate(many, 32, World(upload=1e6)).limit == "sending the files"
    assert simulate(many, 32, World(upload=1e6)).seconds >= 1000.0
    assert simulate(many, 32, World(dispatch=5.0)).limit == "giving rounds"
    assert simulate(items([1.0] * 50 + [400.0]), 32, World()).limit == "the longest piece"
    assert simulate(many, 64, World(start=600.0)).limit == "starting workers"
    assert simulate(many, 64, World(bring=2.0)).limit == "starting workers"


def test_lost_workers_give_their_pieces_back_and_are_replaced() -> None:
    world = World(lost_every=100.0, notice=30.0)
    found = simulate(items([1.0] * 2000), 6, world, seed=2)
    assert found.lost >= 1
    assert len(found.paid) > 6, "lost ones are replaced"
    assert found.again > 0
    assert found.seconds > 2000 / 6
    assert found.worked == pytest.approx(2000.0), "what is lost is not counted as worked"


@settings(deadline=None)
@given(
    st.lists(st.floats(0.1, 100.0), min_size=1, max_size=150),
    st.integers(1, 9),
    st.sampled_from([0.0, 50.0, 400.0]),
    st.sampled_from([0.0, 1e4]),
    st.tuples(st.floats(0, 90), st.floats(0, 5), st.floats(0, 5)),
    st.integers(0, 5),
)
def test_every_piece_is_worked_and_time_and_money_add_up(
    seconds: list[float],
    workers: int,
    lost_every: float,
    upload: float,
    delays: tuple[float, float, float],
    seed: int,
) -> None:
    start, dispatch, trip = delays
    world = World(
        start=start, billed=start / 2, load=2.0, bring=0.5, dispatch=dispatch, trip=trip,
        upload=upload, lost_every=lost_every, speeds=(1.0, 0.5, 2.0),
    )  # fmt: skip
    found = simulate(items(seconds, 1000), workers, world, seed=seed)
    assert found == simulate(items(seconds, 1000), workers, world, seed=seed)
    assert found.seconds >= start + max(seconds) / 2
    assert workers <= len(found.paid) <= workers + found.lost
    assert all(0 <= paid <= found.seconds for paid in found.paid)
    assert found.worked >= math.fsum(seconds) / 2 * 0.999
    assert found.worked + found.again + found.waited <= sum(found.paid) * 1.001
    assert found.sent >= (math.fsum([1000 / upload] * len(seconds)) if upload else 0) * 0.999
    if not lost_every:
        assert found.again == 0.0

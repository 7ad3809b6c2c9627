"""Two computers of one account, with a DEVBOX_HOME each, bring up the same box name."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.faults.campaign import Devbox
from tests.faults.conftest import MakeWorld
from tests.faults.world import World

pytestmark = pytest.mark.real_time

NAMES = ["hf-space", "hf-job", "modal"]


@pytest.fixture(params=NAMES)
def world(make_world: MakeWorld, request: pytest.FixtureRequest) -> World:
    made = make_world(request.param)
    hub: Any = getattr(made, "hub", None)
    if hub is not None:
        hub.account.ssh_keys = None  # the account knows both computers' keys
    return made


@pytest.fixture
def laptops(world: World, home: Path) -> Iterator[list[Devbox]]:
    """Two of them, warm: the first call of each pays for imports and the identity."""
    with closing(Devbox(world, home / "one")) as one, closing(Devbox(world, home / "two")) as two:
        for each in (one, two):
            each.result("look")
        yield [one, two]


def assert_one_box(world: World, laptops: list[Devbox]) -> None:
    assert world.live() == 1
    assert world.billing() == 1
    seen = [each.result("look") for each in laptops]
    assert [each["box"] for each in seen] == ["running", "running"]
    assert [each["open"] for each in seen] == [[], []]
    assert seen[0]["handle"] == seen[1]["handle"]
    assert seen[0]["token"] == seen[1]["token"]
    for each in laptops:
        each.result("remember")
        assert each.result("recall") == "precious"


def test_one_after_the_other(world: World, laptops: list[Devbox]) -> None:
    for each in laptops:
        each.result("up")
    assert_one_box(world, laptops)
    one, two = laptops
    world.advance(3600)
    two.result("down")
    assert world.live() == world.billing() == 0
    world.advance(3600)
    one.result("reconcile")
    after = one.result("look")
    assert after["box"] in ("terminated", "lost")
    (cost,) = after["costs"]
    if world.name != "hf-space":  # a Space that is gone tells no more when it went
        assert cost[1] - cost[0] == pytest.approx(3600, rel=0.01)


@pytest.mark.parametrize("turn", range(3))
def test_both_at_once(world: World, laptops: list[Devbox], turn: int) -> None:
    with ThreadPoolExecutor(2) as pool:
        order = laptops if turn % 2 else laptops[::-1]
        done = list(pool.map(lambda each: each.run("up"), order))
    for each, result in zip(order, done, strict=True):
        if result["code"]:
            assert result["code"] == 1, result
            each.result("up")
    assert_one_box(world, laptops)
    order[0].result("down")
    assert world.live() == 0

"""What a box may still spend: its watchdog pauses it in time, whatever is done there."""

from __future__ import annotations

from typing import Any

import pytest

from devbox.box import processes
from devbox.box.watchdog import commands, config
from devbox.box.watchdog.deadline import Moment
from devbox.box.watchdog.escalation import Report
from devbox.wire.codec import convert
from devbox.wire.messages import Allowance, WatchdogConfig
from tests.idle.test_ladder import Box
from tests.idle.traces import HOUR, MINUTE, T0, sample
from tests.idle.world import ORDERS, World

BUSY = sample(jobs=["r1"])
MONEY: dict[str, Any] = {"micro": 2_000_000, "price": 1_000_000, "name": "daily budget"}


def given(budget: Any, **more: Any) -> WatchdogConfig:
    orders = convert({**ORDERS, "budget": budget, **more}, WatchdogConfig)
    return orders._replace(armed=orders.armed._replace(wall=T0, mono=1000.0))


@pytest.mark.parametrize(
    ("micro", "price", "unit", "seconds"),
    [
        (2_000_000, 1_000_000, 0, 2 * HOUR),
        (50_000, 1_800_000, 60, 60),  # 100 s: one whole minute, and the next would be paid for
        (61_729, 1_234_567, 60, 180),
        (29_999, 1_800_000, 60, 0),
        (0, 1, 0, 0),
    ],
)
def test_money_is_time_at_a_price_in_whole_units(
    micro: int, price: int, unit: int, seconds: float
) -> None:
    ends = config.allowance(given(Allowance(micro, price, unit)._asdict()))
    assert ends is not None
    assert ends.over(Moment(T0 + 7, 1007.0)) - 1000.0 == seconds


@pytest.mark.parametrize(
    "budget", [{"micro": -1}, {"price": 0}, {"micro": float("nan")}, {"unit": -60}, {"micro": "9"}]
)
def test_an_amount_that_is_none_is_refused(budget: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="budget"):
        convert({**ORDERS, "budget": {**MONEY, **budget}}, WatchdogConfig)


def test_a_box_at_work_is_saved_and_paused_before_its_money_is_spent() -> None:
    box = Box()
    box.state = box.state._replace(budget=config.allowance(given(MONEY)))
    box.live(3 * HOUR, lambda s: BUSY)
    assert box.off
    assert box.second <= 2 * HOUR
    assert box.kinds() == ["warning", "saving", "saved", "pausing", "paused"]
    assert box.events[0][0] == 2 * HOUR - 15 * MINUTE - 30
    assert "daily budget is reached in 15m" in box.events[0][2]
    assert "raise it and type: devbox budget --enforce" in box.said[0]


def test_the_earlier_of_both_ends_counts() -> None:
    box = Box(end=config.ceiling(given(None, deadline=T0 + HOUR)))
    box.state = box.state._replace(budget=config.allowance(given(MONEY)))
    box.live(3 * HOUR, lambda s: BUSY)
    assert box.second <= HOUR
    assert box.verdict is not None
    assert box.verdict.cause == "ceiling"


def test_raising_the_budget_calls_the_pause_off() -> None:
    box = Box()
    box.answers = [Report(False, "HTTP 500")] * 9
    box.state = box.state._replace(budget=config.allowance(given(MONEY)))
    box.live(2 * HOUR + 60, lambda s: BUSY)
    assert "pause-failed" in box.kinds()
    more = given({**MONEY, "micro": 9_000_000})
    box.state = box.state._replace(budget=config.allowance(more))
    box.live(120, lambda s: BUSY)
    assert not box.off
    assert box.events[-1][1:] == ("called-off", "the pause is called off: its budget was raised")
    assert box.verdict is not None
    assert (box.verdict.state, box.verdict.cause) == ("active", "budget")


def test_new_money_leaves_the_idle_clock_and_the_ladder_as_they_are() -> None:
    world = World(budget=MONEY)
    world.live(26 * MINUTE)
    assert world.kinds() == ["warning"]
    world.arm(pause=world_recipe(world), budget={**MONEY, "micro": 5_000_000}, sent=T0 + 1560)
    world.live(10)
    assert world.kinds() == ["warning"]  # neither called off nor warned again
    assert world.verdict()["idle_for"] > 26 * MINUTE
    world.live(4 * MINUTE)
    world.until_event("paused")
    assert world.pause_file.exists()


def test_other_orders_begin_the_idle_clock_again() -> None:
    world = World(budget=MONEY)
    world.live(20 * MINUTE)
    world.arm(pause=world_recipe(world), budget=MONEY, policy={"after": 1801})
    world.live(10)
    assert world.verdict()["idle_for"] < MINUTE


def world_recipe(world: World) -> dict[str, Any]:
    return {"kind": "exec", "argv": ["touch", str(world.pause_file)]}


def test_lowered_to_nothing_it_saves_and_pauses_at_once() -> None:
    world = World(budget=MONEY)
    world.live(60)
    world.arm(pause=world_recipe(world), budget={**MONEY, "micro": 0}, sent=T0 + 60)
    world.live(2)
    world.until_event("paused")
    assert world.kinds() == ["warning", "saving", "saved", "pausing", "paused"]


def test_keep_does_not_pass_it(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    world = World(budget=MONEY)
    monkeypatch.setattr(config, "moment", world.now)
    assert commands.keep(["--until", str(T0 + 9 * HOUR), "--now", str(T0)]) == 0
    assert f'"until":{T0 + 2 * HOUR}' in capfdbinary.readouterr().out.decode()


def test_it_survives_a_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(budget=MONEY)
    world.live(HOUR, step=60)
    monkeypatch.setattr(processes, "boot_id", lambda: "another boot")
    found = config.read(world.root, Moment(T0 + HOUR + 60, 5.0))
    assert found is not None
    ends = config.allowance(found)
    assert ends is not None
    assert ends.over(Moment(T0 + HOUR + 60, 5.0)) == pytest.approx(5.0 + HOUR - 60)
    # a wall clock that is turned back in that boot gains nothing
    assert ends.over(Moment(T0, 65.0)) == pytest.approx(5.0 + HOUR - 60)

"""Watchdogs and whoever enforces budgets keep them together."""

from __future__ import annotations

import datetime as dt
import math
import random
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from devbox.box.watchdog import config, policy
from devbox.box.watchdog.deadline import Moment
from devbox.model import Interval, Price
from devbox.money import budget
from devbox.money.budget import POLL, Limit, Member, standing
from devbox.money.period import around
from devbox.state.costs import spent_in
from devbox.state.spending import EVER
from devbox.wire.messages import Allowance, Arming, Policy, WatchdogConfig
from tests.core.test_state import HOUR

NOON = dt.datetime(2026, 3, 10, 12).timestamp()
DOLLAR = 1_000_000


class Sim:
    """Boxes with a watchdog each, a computer that enforces every POLL while it is open, and a
    ledger, all on one clock. The watchdog's judgement and `budget.settle` are the real ones."""

    STEP = 20.0

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.now = around("day", NOON, None).end - 2 * HOUR  # over a midnight
        self.limits = [
            Limit("day", "d", self.chance.randrange(1, 9) * DOLLAR, "day"),
            Limit("total", "t", self.chance.randrange(2, 14) * DOLLAR, "ever"),
        ]
        self.boxes: list[dict[str, Any]] = []
        self.most: dict[tuple[str, str], float] = {}

    def launch(self) -> None:
        rate, unit = self.chance.choice((1, 2, 3)) * DOLLAR, self.chance.choice((0, 60))
        asked = Member("new", "new", rate, self.now + self.chance.uniform(0.2, 3) * HOUR, unit)
        for limit in self.limits:
            if budget.overrun(self.standing(limit), asked, self.now):
                return
        self.boxes.append(
            {
                "member": msgspec.structs.replace(asked, id=str(len(self.boxes))),
                "begun": self.now,
                "end": None,
                "watch": None,
                "dead": self.chance.random() < 0.2,  # its watchdog does not act
                "deaf": False,  # it cannot be told
            }
        )

    def interval(self, box: dict[str, Any]) -> Any:
        me = box["member"]
        price = Price(me.rate, unit=me.unit)
        return Interval(1, me.id, me.id, "p", "h", price, box["begun"], box["end"])

    def spent(self, limit: Limit, now: float) -> float:
        span = around(limit.kind, now, None)
        begin = max(span.begin, EVER)
        return sum(spent_in(self.interval(box), begin, now)[1] or 0 for box in self.boxes)

    def live(self) -> list[dict[str, Any]]:
        return [box for box in self.boxes if box["end"] is None]

    def standing(self, limit: Limit) -> budget.Standing:
        found = [box["member"] for box in self.live()]
        return standing(limit, round(self.spent(limit, self.now)), found, self.now)

    def enforce(self) -> None:
        def arm(key: str, until: float) -> bool:
            box = self.boxes[int(key)]
            if box["deaf"]:
                return False
            me = box["member"]
            until = min(until, me.ends)
            micro = budget.may_spend(me, until, self.now)
            given = WatchdogConfig("b", Policy(), me.ends, box["begun"], self.now)
            given = given._replace(
                budget=Allowance(micro, me.rate, me.unit),
                armed=Arming("1", self.now, self.now),
            )
            ends = config.ceiling(given), config.allowance(given)
            box["watch"] = policy.begin(Moment(self.now, self.now), *ends)
            box["member"] = msgspec.structs.replace(me, armed=until)
            return True

        plan = budget.settle([self.standing(each) for each in self.limits], self.now, arm)
        for key in (*plan.stop, *plan.stuck):
            self.boxes[int(key)]["end"] = self.now
        for box in self.live():
            if box["watch"] is None:
                arm(box["member"].id, plan.until.get(box["member"].id, math.inf))

    def step(self) -> None:
        self.now += self.STEP
        for box in self.live():
            me, watch = box["member"], box["watch"]
            moment = Moment(self.now, self.now)
            judged = watch and policy.judge(Policy(enabled=False), watch, moment).state
            if self.now >= me.ends or (judged == "pausing" and not box["dead"]):
                box["end"] = min(self.now, me.ends)
        for limit in self.limits:
            key = limit.key, around(limit.kind, self.now - 1, None).label
            self.most[key] = max(self.most.get(key, 0.0), self.spent(limit, self.now - 1e-3))


def bound(sim: Sim) -> float:
    """What may be spent in one poll, in whole billing units, by what runs."""
    live: list[Member] = [box["member"] for box in sim.live()]
    return sum((each.rate or 0) * (POLL + each.unit) / 3600 for each in live)


@given(st.integers(0, 10**9))
@settings(max_examples=30)
def test_no_budget_is_passed_by_more_than_one_poll(seed: int) -> None:
    """Launches, closed laptops, watchdogs that are dead or cannot be told, raised and lowered
    limits, over a midnight. A limit that is set below what is spent counts as that."""
    sim = Sim(seed)
    closed_until = polled = most_at_once = 0.0
    floors: dict[str, float] = {}
    for _ in range(int(5 * HOUR / sim.STEP)):
        if sim.now >= closed_until:
            if sim.chance.random() < 0.02:
                sim.launch()
                sim.enforce()
            if sim.chance.random() < 0.003:
                pick = sim.chance.randrange(2)
                amount = sim.chance.randrange(1, 14) * DOLLAR
                sim.limits[pick] = msgspec.structs.replace(sim.limits[pick], micro=amount)
                floors = {each.key: sim.spent(each, sim.now) for each in sim.limits}
                sim.most, polled = {}, 0.0
            if sim.now - polled >= POLL:
                polled = sim.now
                for box in sim.live():
                    box["deaf"] = sim.chance.random() < 0.1
                sim.enforce()
            watched = all(not box["dead"] and not box["deaf"] for box in sim.live())
            if sim.chance.random() < 0.003 and watched:
                closed_until = sim.now + sim.chance.uniform(0.1, 2) * HOUR
        most_at_once = max(most_at_once, bound(sim))
        sim.step()
        for limit in sim.limits:
            for (key, label), most in sim.most.items():
                today = around(limit.kind, sim.now - 1, None).label
                if key == limit.key and label == today:
                    allowed = max(limit.micro, floors.get(key, 0.0))
                    assert most <= allowed + most_at_once, (seed, key, label)


@given(st.integers(0, 10**9))
@settings(max_examples=60)
def test_watchdogs_alone_keep_what_they_were_armed_with_together(seed: int) -> None:
    """A limit is lowered, some watchdogs cannot be told, and the computer is closed after that.
    What those spend that could not be told is counted first: the others leave it."""
    sim = Sim(seed)
    (limit, _), chance = sim.limits, sim.chance
    sim.limits = [msgspec.structs.replace(limit, micro=40 * DOLLAR)]
    for _ in range(4):
        sim.launch()
    for box in sim.boxes:
        box["dead"] = False
    sim.enforce()
    for _ in range(30):
        sim.step()
    for box in sim.boxes:
        box["deaf"] = chance.random() < 0.3
    sim.limits = [msgspec.structs.replace(limit, micro=chance.randrange(1, 12) * DOLLAR)]
    began = sim.now
    before = sim.spent(sim.limits[0], began)
    label = around("day", began, None).label
    sim.most = {}
    sim.enforce()
    rate = bound(sim) - sum(box["member"].rate * POLL / 3600 for box in sim.live())
    for _ in range(int(4 * HOUR / sim.STEP)):
        sim.step()
    for (_, day), most in sim.most.items():
        span = around("day", began if day == label else sim.now, None)
        deaf = [sim.interval(box) for box in sim.boxes if box["deaf"]]
        kept = sum(spent_in(each, max(span.begin, began), span.end)[1] or 0 for each in deaf)
        allowed = max(sim.limits[0].micro, kept + (before if day == label else 0))
        assert most <= allowed + rate + 1, (seed, day)

"""Budgets: what they leave, who may spend it until when, and that together nobody passes them."""

from __future__ import annotations

import datetime as dt
import json
import math
import random
import time
import zoneinfo
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from devbox import paths, spec
from devbox.box.watchdog import config, policy
from devbox.box.watchdog.deadline import Moment
from devbox.cli.main import cli
from devbox.errors import BudgetError, SpecError
from devbox.model import Box, BoxState, Interval, Price
from devbox.money import budget, limits
from devbox.money.budget import POLL, Limit, Member, standing
from devbox.money.period import around
from devbox.spec import BoxSpec, Seconds
from devbox.state.budgets import Untracked
from devbox.state.costs import spent_in
from devbox.state.spending import EVER
from devbox.wire.messages import Allowance, Arming, Policy, WatchdogConfig
from devbox.workspace import Workspace
from tests.boxes import close_interval, open_interval
from tests.core.test_state import HOUR, a_box

NOON = dt.datetime(2026, 3, 10, 12).timestamp()
DOLLAR = 1_000_000
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
DAY = Limit("daily budget", "user-daily", 10 * DOLLAR, "day")


def member(name: str, hours: float, rate: float = 1.0, **more: Any) -> Member:
    return Member(name, name, int(rate * DOLLAR), NOON + hours * HOUR, **more)


def test_boxes_that_share_a_limit_run_until_the_same_moment() -> None:
    # a ends by itself after an hour: 2 $ in it, then b alone at 1 $/h
    both = [member("a", 1), member("b", 20)]
    assert standing(DAY, 4 * DOLLAR, both, NOON).reached == NOON + 5 * HOUR
    # what nothing can stop is counted first: c takes 3 $, and leaves 3 for two
    three = [member("a", 20), member("b", 20), member("c", 3, fixed=True)]
    found = standing(DAY, 4 * DOLLAR, three, NOON)
    assert (found.reached, found.full) == (NOON + 1.5 * HOUR, NOON + 2 * HOUR)
    assert found.committed == (12 + 12 + 3) * DOLLAR  # to midnight
    assert standing(DAY, 4 * DOLLAR, [member("a", 5.9)], NOON).reached == math.inf
    assert standing(DAY, 11 * DOLLAR, [member("a", 5)], NOON).reached == NOON
    assert standing(DAY, 11 * DOLLAR, [], NOON).reached == math.inf


def test_a_day_begins_again_at_the_midnight_of_its_zone() -> None:
    # 6 $ until midnight, 4 of 10 left: over today. With 7 left: 3 $ from the next day's 10.
    end = around("day", NOON, BERLIN).end
    alone = [Member("a", "a", DOLLAR, end + 30 * HOUR)]
    found = standing(DAY, 3 * DOLLAR, alone, end - 6 * HOUR, zone=BERLIN)
    assert found.reached == end + 10 * HOUR
    assert standing(DAY, 5 * DOLLAR, alone, end - 6 * HOUR, zone=BERLIN).reached == end - HOUR


@pytest.mark.parametrize(
    ("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-03-10", 24)]
)
def test_a_day_has_the_hours_that_its_zone_gives_it(day: str, hours: int) -> None:
    noon = dt.datetime.fromisoformat(f"{day}T12:00").replace(tzinfo=BERLIN).timestamp()
    span = around("day", noon, BERLIN)
    assert (span.label, (span.end - span.begin) / HOUR) == (day, hours)
    assert around("day", span.end, BERLIN).begin == span.end
    limit = Limit("daily budget", "d", (hours - 1) * DOLLAR, "day")
    alone = [Member("a", "a", DOLLAR, span.end)]
    assert standing(limit, 0, alone, span.begin, zone=BERLIN).reached == span.end - HOUR


def test_a_month_ends_with_its_last_day() -> None:
    last = dt.datetime(2024, 2, 29, 23, 30, tzinfo=BERLIN).timestamp()
    span = around("month", last, BERLIN)
    assert (span.label, span.end) == ("2024-02", last + 1800)
    assert around("month", span.end, BERLIN).label == "2024-03"


def test_what_is_told_has_a_name_in_each_period_and_for_each_amount() -> None:
    assert standing(DAY, 4_900_000, [], NOON).keys(NOON) == []
    today = standing(DAY, 8 * DOLLAR, [], NOON).keys(NOON)
    assert today == ["user-daily:10000000:2026-03-10:0.8", "user-daily:10000000:2026-03-10:0.5"]
    assert len(standing(DAY, 10 * DOLLAR, [], NOON).keys(NOON)) == 3
    raised = msgspec.structs.replace(DAY, micro=12 * DOLLAR)
    assert not {*today} & {*standing(raised, 8 * DOLLAR, [], NOON).keys(NOON)}
    tomorrow = NOON + 24 * HOUR
    assert not {*today} & {*standing(DAY, 8 * DOLLAR, [], tomorrow).keys(tomorrow)}


def test_one_that_cannot_be_told_counts_with_what_it_has() -> None:
    """The limit was lowered: a keeps its 4 h, so b gets what these leave."""
    armed = [member("a", 20, armed=NOON + 4 * HOUR), member("b", 20, armed=NOON + 4 * HOUR)]
    found = [standing(DAY, 4 * DOLLAR, armed, NOON)]
    told: list[tuple[str, float]] = []

    def arm(name: str, until: float) -> bool:
        told.append((name, (until - NOON) / HOUR))
        return name != "a"

    budget.settle(found, NOON, arm)
    assert told == [("a", 3.0), ("b", 3.0), ("b", 2.0)]


# -- with a ledger ----------------------------------------------------------------------------


@pytest.fixture
def opened(home: Path) -> Callable[..., Workspace]:
    """opened(project's TOML, user's TOML) at NOON; local boxes cost a dollar an hour."""

    def make(project: str = "", user: str = "") -> Workspace:
        folder = home / "project"
        folder.mkdir(exist_ok=True)
        (folder / "devbox.toml").write_text(f"[boxes.b]\n{project}")
        paths.user_config().parent.mkdir(parents=True, exist_ok=True)
        paths.user_config().write_text(f"[providers.local]\nprice = 1.0\n{user}")
        ws = Workspace.open(folder)
        ws.clock = lambda: NOON
        return ws

    return make


def spend(ws: Workspace, name: str, hours: float, *, ended: bool = True, **fields: Any) -> Box:
    fields = {"root": ws.here.root, "project": ws.spec.project, **fields}
    box = a_box(name, started=NOON - hours * HOUR, handle=f"h-{name}", **fields)
    ws.store.boxes.insert(box, "running", {}, NOON - hours * HOUR)
    for goal in ws.store.boxes.open_intents(box.id):
        ws.store.boxes.finish(goal.id, "running", NOON)
    open_interval(ws.store.ledger, box, box.price, NOON - hours * HOUR)
    if ended:
        close_interval(ws.store.ledger, box.id, NOON)
    return box


ONE = Price(DOLLAR)


def hours(count: float) -> BoxSpec:
    return BoxSpec(max_uptime=Seconds(count * HOUR))


def test_a_budget_counts_what_was_spent_and_what_may_come(
    opened: Callable[..., Workspace],
) -> None:
    ws = opened(user="[budget]\ndaily = 5\n")
    spend(ws, "old", 2, state=BoxState.PAUSED)
    limits.check(ws, None, hours(3), ONE, name="b")
    with pytest.raises(BudgetError, match=r"\$3.10 .*daily budget of \$5.00"):
        limits.check(ws, None, hours(3.1), ONE, name="b")
    with pytest.raises(BudgetError, match="price of this hardware is unknown"):
        limits.check(ws, None, hours(1), Price(None), name="b")
    limits.check(ws, None, hours(99), Price(0), name="b")
    spend(ws, "y", 24, state=BoxState.PAUSED)  # also today's half of it: 12 h
    with pytest.raises(BudgetError, match=r"on top of \$14.00"):
        limits.check(ws, None, hours(0.1), ONE, name="b")


def test_money_that_running_boxes_may_still_spend_counts(opened: Callable[..., Workspace]) -> None:
    ws = opened(user="[budget]\ndaily = 7\n")
    spend(ws, "a", 1, ended=False, spec=spec.encode_box(hours(3)))  # 1 $ spent, 2 $ ahead
    limits.check(ws, None, hours(4), ONE, name="b")
    with pytest.raises(BudgetError, match=r"on top of \$1.00 and up to \$2.00 by what runs"):
        limits.check(ws, None, hours(4.5), ONE, name="b")
    # one of another computer: since 11:00, its max_uptime is not told, so the default of 8 h counts
    there = Untracked("modal", "sb-1", "x", "l4", Price(DOLLAR), NOON - HOUR, NOON, None)
    ws.store.budgets.found("modal", [there], NOON)
    with pytest.raises(BudgetError, match=r"on top of \$2.00 and up to \$9.00"):
        limits.check(ws, None, hours(0.5), ONE, name="b")
    ws.store.budgets.found("modal", [], NOON + 1)  # gone: what it cost until then stays spent
    limits.check(ws, None, hours(3), ONE, name="b")
    ws.store.budgets.tracked("modal", "sb-1")
    limits.check(ws, None, hours(4), ONE, name="b")


def test_limits_of_the_user_the_project_and_the_box_all_count(
    opened: Callable[..., Workspace],
) -> None:
    ws = opened("budget = 4\n[budget]\ndaily = 6\nper_box = 9\n", "[budget]\ndaily = 8\n")
    spend(ws, "elsewhere", 3, state=BoxState.PAUSED, root="/other", project="other")
    with pytest.raises(BudgetError, match=r"budget of box b of \$4.00"):
        limits.check(ws, None, hours(4.1), ONE, name="b")
    spend(ws, "old", 3, state=BoxState.PAUSED)
    with pytest.raises(BudgetError, match=r"daily budget of \$8.00"):
        limits.check(ws, None, hours(2.1), ONE, name="b")
    limits.check(ws, None, hours(2), ONE, name="b")
    (mine,) = (each for each in limits.standings(ws) if each.limit.key.startswith("project"))
    assert (mine.spent, mine.limit.name) == (3 * DOLLAR, "daily budget of project")
    # a box's own limit is for its whole life, over all pauses
    box = spend(ws, "b", 3.5, state=BoxState.PAUSED, created=2.0)
    assert [each.spent for each in limits.of_box(ws, box)][-1] == 3.5 * DOLLAR


def test_tomorrows_part_is_tomorrows_money(opened: Callable[..., Workspace]) -> None:
    ws = opened(user="[budget]\ndaily = 10\n")
    ws.clock = lambda: NOON + 10 * HOUR  # 22:00
    limits.check(ws, None, hours(12), ONE, name="b")  # 2 $ today, 10 tomorrow
    with pytest.raises(BudgetError, match=r"daily budget of \$10.00 of 2026-03-11"):
        limits.check(ws, None, hours(12.5), ONE, name="b")


@pytest.mark.parametrize("amount", ["-1", "nan", "inf", '"5"', "true"])
def test_an_amount_that_is_none_is_refused(opened: Callable[..., Workspace], amount: str) -> None:
    for where in ("[budget]\nmonthly = {}\n", "budget = {}\n"):
        with pytest.raises(SpecError, match="budget"):
            opened(where.format(amount))


def test_a_project_may_not_have_boxes_ended(opened: Callable[..., Workspace]) -> None:
    with pytest.raises(SpecError, match="only your own config"):
        opened("[budget]\nend_unpausable = true\n")
    assert opened(user="[budget]\nend_unpausable = true\n").spec.user_budget.end_unpausable


# -- the watchdog and whoever enforces, together ----------------------------------------------


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


def test_the_command_line_tells_how_budgets_stand(
    opened: Callable[..., Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    ws = opened("budget = 4\n", "[budget]\ntotal = 5\n")
    monkeypatch.chdir(ws.spec.root)
    now = time.time()
    box = a_box("b", started=now - 3 * HOUR, root=ws.here.root, project="project", seen=now)
    ws.store.boxes.insert(box, "running", {}, now)
    open_interval(ws.store.ledger, box, box.price, now - 3 * HOUR)
    ws.close()

    def run(*words: str) -> str:
        done = CliRunner().invoke(cli, words)
        assert done.exit_code == 0, done.output
        return done.output

    shown = run("budget").splitlines()
    assert [line.split()[:4] for line in shown[1:]] == [
        ["total", "budget", "$3.00", "$5.00"],
        ["budget", "of", "box", "b"],
    ]
    whole, own = json.loads(run("budget", "--json"))["budgets"]
    assert (whole["period"], whole["limit_micro"], own["name"]) == ("ever", 5e6, "budget of box b")
    assert own["reached"] == pytest.approx(now + HOUR, abs=60)
    for verb in (("ls",), ("cost",)):
        assert "total budget: $3.00 of $5.00 (60%), spent by" in run(*verb)
    assert CliRunner().invoke(cli, ["budget", "--enforce", "x"]).exit_code == 2

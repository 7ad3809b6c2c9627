"""Budgets: what they leave, and who may spend it until when."""

from __future__ import annotations

import datetime as dt
import json
import math
import time
import zoneinfo
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from devbox import paths, spec
from devbox.cli.main import cli
from devbox.errors import BudgetError, SpecError
from devbox.model import Box, BoxState, Price
from devbox.money import budget, limits
from devbox.money.budget import Limit, Member, standing
from devbox.money.period import around
from devbox.spec import BoxSpec, Seconds
from devbox.state.budgets import Untracked
from devbox.wire.messages import Allowance
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
    free = there._replace(handle="sb-2", price=Price(0))
    ws.store.budgets.found("modal", [there, free], NOON)
    assert "sb-2" not in limits.members(ws, NOON)
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


def test_a_limit_is_told_in_one_sentence() -> None:
    def said(spent: int, *members: Member, unknown: bool = False) -> str:
        return limits.sentence(standing(DAY, spent * DOLLAR, members, NOON, unknown=unknown))

    assert said(4) == "$4.00 of $10.00 (40%)"
    assert said(10) == "$10.00 of $10.00 (100%): spent"
    assert said(4, unknown=True) == "$4.00 of $10.00 (40%), and time at an unknown price"
    assert said(4, member("a", 2)) == "$4.00 of $10.00 (40%), up to $2.00 more by what runs"
    told = said(4, member("a", 9))
    assert told.startswith("$4.00 of $10.00 (40%), spent by Tue 18:00")
    assert told.endswith(" as things stand")


def test_what_was_spent_at_an_unknown_price_holds_no_limit(
    opened: Callable[..., Workspace],
) -> None:
    ws = opened(user="[budget]\ndaily = 5\n")
    spend(ws, "old", 2, state=BoxState.PAUSED, price=Price(None))
    with pytest.raises(BudgetError, match="has an unknown price, so the daily budget cannot be"):
        limits.check(ws, None, hours(1), ONE, name="b")
    (found,) = limits.standings(ws)
    assert (found.spent, found.unknown) == (0, True)


def test_a_box_is_told_what_it_may_spend_only_where_a_limit_comes_first(
    opened: Callable[..., Workspace],
) -> None:
    ws = opened(user="[budget]\ndaily = 5\n")
    box = spend(ws, "a", 1, ended=False, spec=spec.encode_box(hours(20)))
    told, until = limits.allowance(ws, box)
    assert (told, until) == (Allowance(4 * DOLLAR, DOLLAR, 0, "daily budget"), NOON + 4 * HOUR)
    assert limits.allowance(ws, box, NOON + 2 * HOUR)[1] == NOON + 2 * HOUR
    assert limits.allowance(ws, box, NOON + 30 * HOUR) == (None, None)  # after its max_uptime
    free = spend(ws, "free", 1, ended=False, price=Price(0))
    assert limits.allowance(ws, free) == (None, None)
    none = opened()
    assert limits.allowance(none, box) == (None, None)
    assert limits.standings(none) == []
    assert limits.of_box(none, box) == []


def test_what_is_about_to_end_counts_until_it_is_confirmed(
    opened: Callable[..., Workspace],
) -> None:
    ws = opened(user="[budget]\ndaily = 9\n")
    for name, state in (("a", BoxState.PAUSING), ("b", BoxState.PROVISIONING)):
        spend(ws, name, 1, ended=False, state=state, spec=spec.encode_box(hours(3)))
    asleep = spend(ws, "c", 5, state=BoxState.PAUSED, spec=spec.encode_box(hours(2)))
    ws.store.boxes.begin(asleep.id, "running", {}, NOON)
    ends = {each.name: each.ends - NOON for each in limits.members(ws, NOON).values()}
    assert ends == {"a": 300.0, "b": 3 * HOUR, "c": 2 * HOUR}


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

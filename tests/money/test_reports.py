"""Reports from the ledger: any grouping of any time adds up to what the ledger says."""

from __future__ import annotations

import csv
import datetime as dt
import io
import math
import zoneinfo
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devbox.cli.common import JSON_VERSION
from devbox.errors import SpecError, UsageError
from devbox.model import Price, Run, RunState
from devbox.money import fixed, period, report
from devbox.spec import Bytes, FixedCost, load
from devbox.state import costs, run_spending, spending
from devbox.state.spending import By
from devbox.state.store import Store
from tests.boxes import close_interval, open_interval
from tests.command_line import Devbox
from tests.core.test_state import HOUR, a_box

DAY = 24 * HOUR
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
#: the night of 2026-10-25 has 25 hours there
T0 = dt.datetime(2026, 10, 23, 22, 30, tzinfo=BERLIN).timestamp()
_ADD_UP = [by for by in get_args(By) if by not in ("job", "run")]

_STRETCHES = st.lists(
    st.tuples(
        st.integers(0, 4),  # which box
        st.integers(0, 2 * 86_400_000),  # milliseconds of the gap before it
        st.integers(0, 3 * 86_400_000),  # and of its length
        st.sampled_from([0, 1, 60]),
        st.integers(0, 8_000_000),
    ),
    min_size=1,
    max_size=8,
)


def fill(store: Store, stretches: list[tuple[int, int, int, int, int]], *, is_open: bool) -> None:
    with store.database.write() as connection:
        connection.execute("DELETE FROM intervals")
    at = dict.fromkeys(range(5), T0)
    for index, (number, gap, length, unit, micro) in enumerate(stretches):
        box = a_box(f"b{number}", hardware=f"hw{number % 2}")
        at[number] += gap / 1000
        open_interval(store.ledger, box, Price(micro, unit=unit), at[number])
        at[number] += length / 1000
        if not is_open or index < len(stretches) - 1:
            close_interval(store.ledger, box.id, at[number])


@settings(max_examples=60)
@given(_STRETCHES, st.booleans(), st.integers(-86_400, 864_000), st.integers(-86_400, 864_000))
def test_the_rows_of_every_report_add_up_to_the_ledger_to_the_micro_dollar(
    stretches: list[tuple[int, int, int, int, int]], is_open: bool, a: int, b: int
) -> None:
    store = Store.open()
    fill(store, stretches, is_open=is_open)
    begin, end = T0 + min(a, b), T0 + max(a, b)
    now = T0 + 5 * DAY
    whole = spending.spent_between(store.database, begin, end, now)
    pure = [
        costs.run_cost(store.ledger.of_box(f"id-b{n}"), begin, min(end, now)) or 0 for n in range(5)
    ]
    assert whole == pytest.approx(sum(pure), abs=5)
    for by in _ADD_UP:
        lines = spending.report(store.database, by, now, since=begin, until=end, zone=BERLIN)
        assert sum(line.cost for line in lines) == whole, by
    if begin < now:
        made = report.build(store, load(None), period.Period(begin, end, BERLIN), now)
        assert (made.total.cost, sum(line.cost for line in made.by_slice)) == (whole, whole)
        stacked = sum(sum(each.values) for each in made.stacked)
        assert stacked == pytest.approx(whole, abs=1)
    store.close()


def test_days_are_those_of_the_zone_also_where_one_has_25_hours() -> None:
    store = Store.open()
    open_interval(store.ledger, a_box(), Price(1_000_000), T0)
    now = dt.datetime(2026, 10, 26, 12, tzinfo=BERLIN).timestamp()
    lines = spending.report(store.database, "day", now, zone=BERLIN)
    assert [(line.key, line.seconds / HOUR) for line in lines] == [
        ("2026-10-23", 1.5),
        ("2026-10-24", 24),
        ("2026-10-25", 25),
        ("2026-10-26", 12),
    ]
    utc = spending.report(store.database, "day", now, zone=dt.UTC)
    assert [line.seconds / HOUR for line in utc] == [3.5, 24, 24, 11]


def test_parts_of_a_micro_dollar_are_handed_out_so_that_rows_add_up() -> None:
    assert costs.apportioned([0.4, 0.4, 0.4]) == [1, 0, 0]
    assert costs.apportioned([2.5, 2.5]) == [3, 2]
    assert costs.apportioned([]) == []
    # a sum of floats in another order is the same number of micro-dollars
    assert costs.whole(0.1 + 0.2 + 0.2) == costs.whole(0.2 + 0.2 + 0.1) == 0


def test_an_unknown_price_in_the_time_is_told_and_one_outside_of_it_is_not() -> None:
    store = Store.open()
    open_interval(store.ledger, a_box("dark"), Price(None), T0)
    close_interval(store.ledger, "id-dark", T0 + HOUR)
    open_interval(store.ledger, a_box("b"), Price(1_000_000), T0)
    now = T0 + 5 * HOUR
    (line,) = spending.report(store.database, "provider", now)
    assert (line.cost, line.unknown_seconds, line.total) == (5_000_000, HOUR, None)
    (line,) = spending.report(store.database, "provider", now, since=T0 + HOUR)
    assert line.total == 4_000_000
    assert spending.spent_between(store.database, T0 + HOUR, now, now) == 4_000_000


def test_runs_cost_what_of_them_is_in_the_time_and_tell_it_by_item() -> None:
    store = Store.open()
    box = a_box()
    open_interval(store.ledger, box, Price(3_600_000), T0)
    status = b'{"counts": {"total": 20, "done": 10}}'
    run = Run("r", box.id, "b", "track", RunState.SUCCEEDED, T0, T0, T0 + HOUR, status=status)
    store.runs.put(run)
    store.runs.put(Run("odd", box.id, "b", "x", RunState.RUNNING, T0, T0, T0 + 60, status=b"{"))
    found = {r.id: r for r in run_spending.runs(store.database, T0 + HOUR / 2, T0 + DAY)}
    assert set(found) == {"r"}
    assert (found["r"].cost, found["r"].items, found["r"].seconds) == (1_800_000, 10, HOUR / 2)
    lines = spending.report(store.database, "job", T0 + DAY)
    assert [(line.key, line.runs, line.items) for line in lines] == [("track", 1, 10), ("x", 1, 0)]


@pytest.mark.parametrize(
    ("since", "until", "hours"),
    [
        ("2026-10-25", "2026-10-25", 25),
        ("2026-10-25T00:00", "2026-10-25T12:00+01:00", 13),
        ("today", None, None),
        ("yesterday", "yesterday", 24),
        ("3h", None, None),
    ],
)
def test_a_day_ends_with_its_last_moment(since: str, until: str | None, hours: int | None) -> None:
    now = dt.datetime(2026, 11, 3, 3, tzinfo=BERLIN).timestamp()
    found = period.parse(since, until, "Europe/Berlin", now)
    if hours is None:
        assert found.begin == now - 3 * HOUR
        assert found.end > now
    else:
        assert found.end - found.begin == hours * HOUR


@pytest.mark.parametrize(
    ("since", "until", "zone"),
    [
        ("2026-13-01", None, None),
        ("", None, None),
        ("99999999999999999d", None, None),
        ("\x1b[31m", None, None),
        ("9999-12-31", "9999-12-31", None),
        (None, None, "../etc/passwd"),
        (None, None, ""),
        ("2026-11-02", "2026-11-01", None),
    ],
)
def test_what_is_no_time_is_refused(since: str | None, until: str | None, zone: str | None) -> None:
    with pytest.raises(UsageError) as caught:
        period.parse(since, until, zone, T0)
    assert caught.value.fix
    assert "\x1b" not in caught.value.what


def test_a_months_price_is_a_months_and_only_while_it_is_paid() -> None:
    at = {
        "pro": FixedCost(kind="subscription", monthly=9.0),
        "disk": FixedCost(kind="storage", size=Bytes(100 << 30), per_gb=0.09),
        "later": FixedCost(kind="egress", monthly=5.0, since=dt.date(2026, 11, 16)),
        "over": FixedCost(kind="egress", monthly=5.0, until=dt.date(2026, 9, 1)),
    }
    november = period.parse("2026-11-01", "2026-11-30", "Europe/Berlin", T0)
    found = {o.name: o.cost for o in fixed.lines(at, november.begin, november.end, BERLIN)}
    assert found == {"pro": 9_000_000, "disk": 9_000_000, "later": 2_500_000}
    year = period.parse("2026-01-01", "2026-12-31", "Europe/Berlin", T0)
    assert fixed.lines(at, year.begin, year.end, BERLIN)[0].cost == 108_000_000
    assert fixed.lines(at, 0.0, math.inf, BERLIN) == []


def test_a_fixed_cost_says_one_price(home: Path) -> None:
    file = home / "config.toml"
    file.write_text('[costs.x]\nkind = "storage"\n')
    with pytest.raises(SpecError, match="either monthly, or size and per_gb"):
        load(None, file)


def test_every_form_of_the_verb_tells_one_total(devbox: Devbox, home: Path) -> None:
    store = Store.open()
    open_interval(store.ledger, a_box("=cmd|' /C calc'!A0"), Price(7), 0)
    close_interval(store.ledger, "id-=cmd|' /C calc'!A0", 1000 * HOUR)
    (home / ".devbox" / "config.toml").write_text(
        '[costs.pro]\nkind = "subscription"\nmonthly = 9\n'
    )
    for by in get_args(By):
        data = devbox("cost", "--by", by, "--until", "1970-03-01", "--tz", "UTC", "--json").data
        assert (data["version"], data["total_micro"]) == (JSON_VERSION, 7000)
        assert sum(row["cost_micro"] for row in data["rows"]) == (7000 if by in _ADD_UP else 0)
        assert [line["name"] for line in data["other"]] == ["pro"]
        rows = list(csv.reader(io.StringIO(devbox("cost", "--by", by, "--csv").out)))
        assert rows[0][:3] == [by, "seconds", "dollars"]
        assert not any(row[0].startswith("=") for row in rows)
    shown = devbox("cost", "--chart").out
    assert "████" in shown
    assert "all together" in shown
    assert devbox("cost", "--json", "--csv").code == 2

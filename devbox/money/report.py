"""A whole report of one period: the ledger by box, day and run, what is beside it, the budget.

For `devbox cost --html`; `devbox cost` itself prints one grouping of the same sums.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence

import msgspec

from devbox.money import fixed, usage
from devbox.money.fixed import Other
from devbox.money.period import Period
from devbox.money.usage import Split
from devbox.spec import Budget, Spec
from devbox.state import run_spending, spending
from devbox.state.database import Database
from devbox.state.run_spending import RunCost
from devbox.state.spending import Group, Line, Slice
from devbox.state.store import Store

STACKED = 12  # boxes with a colour of their own; the others are one series
_MOST_DAYS = 400  # more are shown by month
_MOST_RUNS = 200


class Series(msgspec.Struct, frozen=True):
    """Micro-dollars of one box in each slice, not rounded."""

    name: str
    values: list[float]


class Report(msgspec.Struct, frozen=True):
    """begin, end: unix seconds of what is shown; equal where there is nothing. by_slice: days, or
    months where there are too many. stacked: adds up to by_slice. runs: the dearest ones."""

    as_of: float
    period: Period
    begin: float
    end: float
    total: Line
    slices: list[Slice]
    by_slice: list[Line]
    stacked: list[Series]
    by_box: list[Line]
    by_project: list[Line]
    by_hardware: list[Line]
    runs: list[RunCost]
    more_runs: int
    other: list[Other]
    budget: Budget
    use_by_slice: list[Split]
    use_by_box: list[Split]


def build(store: Store, config: Spec, period: Period, now: float) -> Report:
    """The report of a period, of what was billed by `now`."""
    database = store.database
    stop = min(period.end, now)
    days = spending.days(database, period.begin, stop, period.zone)
    slices = days if len(days) <= _MOST_DAYS else _months(days)
    found = spending.groups(database, period.begin, stop)
    sums = spending.slice_sums(database, slices)
    runs = run_spending.runs(database, period.begin, stop)
    dearest = sorted(runs, key=lambda run: -run.micro)[:_MOST_RUNS]
    begin = slices[0].begin if slices else stop
    if math.isfinite(period.begin):
        begin = min(begin, period.begin)
    return Report(
        now,
        period,
        begin,
        stop,
        total(found),
        list(slices),
        spending.lines({at.label: each for at, each in zip(slices, sums, strict=True)}),
        _stacked(database, slices, found, [each.micro for each in sums]),
        spending.folded(found, lambda group: group.box_name),
        spending.folded(found, spending.key(database, "project")),
        spending.folded(found, spending.key(database, "hardware")),
        dearest,
        len(runs) - len(dearest),
        fixed.lines(config.costs, begin, stop, period.zone),
        config.user_budget,
        usage.by_slice(store, slices, sums),
        usage.by_box(store, period.begin, stop, found),
    )


def total(found: Sequence[Group]) -> Line:
    """All of the groups as one row, whose cost is what the ledger says of the time."""
    (line,) = spending.folded(found, lambda _: "total") or [Line("total", 0.0, 0, 0.0)]
    return line


def _stacked(
    database: Database, slices: Sequence[Slice], found: Sequence[Group], all_: Sequence[float]
) -> list[Series]:
    dearest = [line.key for line in spending.folded(found, lambda group: group.box_name)]
    if len(dearest) == 1:
        return [Series(dearest[0], list(all_))]
    series = [
        Series(name, [part.micro for part in spending.slice_sums_of(database, slices, name)])
        for name in dearest[:STACKED]
    ]
    if len(dearest) > STACKED:
        shown = [math.fsum(parts) for parts in zip(*(s.values for s in series), strict=True)]
        rest = [max(0.0, a - b) for a, b in zip(all_, shown, strict=True)]
        series.append(Series(f"{len(dearest) - STACKED} others", rest))
    return series


def _months(days: Sequence[Slice]) -> list[Slice]:
    found: list[Slice] = []
    for day in days:
        label = day.label[:7]
        if found and found[-1].label == label:
            found[-1] = found[-1]._replace(end=day.end)
        else:
            found.append(Slice(label, day.begin, day.end))
    return found


def daily_limit(budget: Budget, zone: dt.tzinfo | None, now: float) -> tuple[float, str] | None:
    """The budget as dollars a day, and what it is called; None without one."""
    if budget.daily is not None:
        return budget.daily, "daily budget"
    if budget.monthly is None:
        return None
    first = dt.datetime.fromtimestamp(now, zone).date().replace(day=1)
    following = (first + dt.timedelta(days=31)).replace(day=1)
    return budget.monthly / (following - first).days, "monthly budget, a day's part"

"""Money as the dashboard shows it, read from the ledger. Blocking: a large one takes a while."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from devbox.money import limits
from devbox.state.spending import Line, report, spent_between, spent_by_box
from devbox.workspace import Workspace


class Spent(NamedTuple):
    """Micro-dollars at the time `at`; None when part of it is unknown. by_box: since midnight."""

    at: float
    today: int | None
    month: int | None
    by_box: Mapping[str, int | None]


class Costs(NamedTuple):
    """The cost tab. budgets: name and how it stands."""

    spent: Spent
    by_box: list[Line]
    by_day: list[Line]
    by_job: list[Line]
    budgets: Sequence[tuple[str, str]] = ()


def spent(ws: Workspace) -> Spent:
    now = ws.clock()
    midnight, first = starts(now)
    database = ws.store.database
    return Spent(
        now,
        spent_between(database, midnight, now, now),
        spent_between(database, first, now, now),
        spent_by_box(database, midnight, now, now),
    )


def costs(ws: Workspace) -> Costs:
    now = ws.clock()
    database = ws.store.database
    return Costs(
        spent(ws),
        report(database, "box", now),
        report(database, "day", now)[-31:],
        report(database, "job", now),
        [(each.limit.name, limits.sentence(each)) for each in limits.standings(ws)],
    )


def starts(now: float) -> tuple[float, float]:
    """Today's midnight and the month's first, local time."""
    today = dt.datetime.fromtimestamp(now).replace(hour=0, minute=0, second=0, microsecond=0)
    return today.timestamp(), today.replace(day=1).timestamp()

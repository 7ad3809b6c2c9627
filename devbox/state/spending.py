"""Cost reports from the ledger, summed inside SQLite so that a million intervals stay fast.

A row's cost is None when any of its time has an unknown price; `unknown_seconds` says how much.
"""

from __future__ import annotations

import datetime as dt
import sqlite3
from typing import Literal

import msgspec

from devbox.model import Interval, Price
from devbox.state.costs import billed_by_sql, run_cost
from devbox.state.database import Database

By = Literal["box", "day", "job", "hardware"]

# Seconds of a row of `intervals` that have gone by; what they cost; those at an unknown price.
_SPENT = "MAX(0.0, MIN(COALESCE(end, :now), :now) - start)"
_SECONDS = f"SUM({_SPENT})"
_COST = f"SUM({billed_by_sql(':now')} * micro_per_hour / 3600.0)"
_UNKNOWN = f"SUM(CASE WHEN micro_per_hour IS NULL THEN {_SPENT} ELSE 0 END)"


class Line(msgspec.Struct, frozen=True):
    """One row of a report. cost: micro-dollars of the time whose price is known."""

    key: str
    seconds: float
    cost: int
    unknown_seconds: float

    @property
    def total(self) -> int | None:
        """The cost, or None when part of it is unknown."""
        return None if self.unknown_seconds > 0 else self.cost


def report(database: Database, by: By, now: float) -> list[Line]:
    """All spending, grouped; days are local calendar days, oldest first; else dearest first."""
    if by == "day":
        return _by_day(database, now)
    query = {
        "box": f"SELECT box_name AS key, {_SECONDS}, {_COST}, {_UNKNOWN} "  # noqa: S608
        "FROM intervals GROUP BY box_name",
        "hardware": f"SELECT provider || '/' || hardware AS key, {_SECONDS}, {_COST}, "  # noqa: S608
        f"{_UNKNOWN} FROM intervals GROUP BY provider, hardware",
        "job": _BY_JOB,
    }[by]
    lines = [_line(row) for row in database.named(query, now=now)]
    return sorted(lines, key=lambda line: (-line.cost, line.key))


def spent_between(database: Database, start: float, end: float, now: float) -> int | None:
    """Micro-dollars billed between two times; None when part of it has an unknown price."""
    row = database.named(f"SELECT {_WINDOW}", begin=start, stop=min(end, now))[0]
    return None if row["unknown"] else round(row["cost"] or 0)


def spent_by_box(database: Database, start: float, end: float, now: float) -> dict[str, int | None]:
    """Box id → micro-dollars billed between two times; None when part of it has an unknown
    price. Boxes without any are left out."""
    rows = database.named(
        f"SELECT box_id, {_WINDOW} GROUP BY box_id",
        begin=start,
        stop=min(end, now),
    )
    return {row["box_id"]: None if row["unknown"] else round(row["cost"] or 0) for row in rows}


_WINDOW = f"""
    SUM(({billed_by_sql(":stop")} - {billed_by_sql(":begin")}) * micro_per_hour / 3600.0) AS cost,
    SUM(micro_per_hour IS NULL) AS unknown
    FROM intervals WHERE start < :stop AND COALESCE(end, :stop) > :begin
"""
_ENDED = "MIN(COALESCE(r.ended, :now), :now)"
_OVERLAP = f"MAX(0, MIN(COALESCE(i.end, :now), {_ENDED}) - MAX(i.start, r.started))"
_BILLED = f"({billed_by_sql(_ENDED, 'i')} - {billed_by_sql('r.started', 'i')})"
# A retried run is the time of its attempts, without the gaps between them.
_BY_JOB = f"""
    WITH known AS (
        SELECT job, box_id, started, ended,
               CASE WHEN json_valid(CAST(status AS TEXT))
                    THEN json_extract(CAST(status AS TEXT), '$.attempts') END AS attempts
        FROM runs WHERE started IS NOT NULL
    ), r AS (
        SELECT job, box_id, started, ended FROM known
        WHERE COALESCE(json_array_length(attempts), 0) < 2
        UNION ALL
        SELECT job, box_id, json_extract(value, '$.started'), json_extract(value, '$.ended')
        FROM known, json_each(attempts) WHERE json_array_length(attempts) >= 2
    )
    SELECT r.job AS key, SUM({_OVERLAP}), SUM({_BILLED} * i.micro_per_hour / 3600.0),
           SUM(CASE WHEN i.micro_per_hour IS NULL THEN {_OVERLAP} ELSE 0 END)
    FROM r JOIN intervals i ON i.box_id = r.box_id
        AND i.start < COALESCE(r.ended, :now) AND COALESCE(i.end, :now) > r.started
        -- A box's intervals never overlap, so nothing before the one around r.started can count.
        AND i.start >= COALESCE((SELECT MAX(j.start) FROM intervals j
                                 WHERE j.box_id = r.box_id AND j.start <= r.started), r.started)
    GROUP BY r.job
"""  # noqa: S608


def _by_day(database: Database, now: float) -> list[Line]:
    first = database.rows("SELECT MIN(start) FROM intervals")[0][0]
    if first is None:
        return []
    days = _days(first, now)
    sums = {day: [0.0, 0.0, 0.0] for day, _, _ in days}
    for index, (day, begin, midnight) in enumerate(days):
        row = database.named(
            f"SELECT {_SECONDS}, {_COST}, {_UNKNOWN} "  # noqa: S608
            "FROM intervals WHERE start >= :begin AND start < :midnight",
            now=min(midnight, now),
            begin=begin,
            midnight=midnight,
        )[0]
        _add(sums[day], row[0] or 0, row[1] or 0, row[2] or 0)
        # What began this day and runs past midnight belongs to the following days.
        for start, end, micro, unit in database.named(
            "SELECT start, MIN(COALESCE(end, :now), :now), micro_per_hour, unit FROM intervals "
            "WHERE start >= :begin AND start < :midnight AND COALESCE(end, :now) > :midnight",
            now=now,
            begin=begin,
            midnight=midnight,
        ):
            whole = Interval(0, "", "", "", "", Price(micro, unit=unit), start, end)
            for later, from_, to in days[index + 1 :]:
                seconds = min(end, to) - max(start, from_)
                if seconds <= 0:
                    break
                unknown = seconds if micro is None else 0.0
                _add(sums[later], seconds, run_cost([whole], from_, to) or 0, unknown)
    return [
        Line(day, seconds, round(cost), unknown)
        for day, (seconds, cost, unknown) in sums.items()
        if seconds
    ]


def _days(first: float, last: float) -> list[tuple[str, float, float]]:
    """Local days from the one holding `first` to the one holding `last`: (date, begin, end)."""
    date = dt.datetime.fromtimestamp(first).date()
    days = []
    while True:
        begin = dt.datetime.combine(date, dt.time()).timestamp()
        end = dt.datetime.combine(date + dt.timedelta(days=1), dt.time()).timestamp()
        days.append((date.isoformat(), begin, end))
        if end > last:
            return days
        date += dt.timedelta(days=1)


def _add(into: list[float], *values: float) -> None:
    for index, value in enumerate(values):
        into[index] += value


def _line(row: sqlite3.Row) -> Line:
    key, seconds, cost, unknown = row
    return Line(str(key), seconds or 0.0, round(cost or 0), unknown or 0.0)

"""Cost reports from the ledger, summed inside SQLite so that a million intervals stay fast.

A row's cost is None when any of its time has an unknown price; `unknown_seconds` says how much.
"""

from __future__ import annotations

import datetime as dt
import sqlite3
from typing import Literal

import msgspec

from devbox.state.database import Database

By = Literal["box", "day", "job", "hardware"]

_COST = "SUM((COALESCE(end, :now) - start) * micro_per_hour / 3600.0)"
_SECONDS = "SUM(COALESCE(end, :now) - start)"
_UNKNOWN = "SUM(CASE WHEN micro_per_hour IS NULL THEN COALESCE(end, :now) - start ELSE 0 END)"


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
    row = database.named(
        """
        SELECT SUM((MIN(COALESCE(end, :now), :stop) - MAX(start, :begin)) * micro_per_hour / 3600.0)
                   AS cost,
               SUM(micro_per_hour IS NULL) AS unknown
        FROM intervals WHERE start < :stop AND COALESCE(end, :now) > :begin
        """,
        now=now,
        begin=start,
        stop=end,
    )[0]
    return None if row["unknown"] else round(row["cost"] or 0)


def spent_by_box(database: Database, start: float, end: float, now: float) -> dict[str, int | None]:
    """Box id → micro-dollars billed between two times; None when part of it has an unknown
    price. Boxes without any are left out."""
    rows = database.named(
        """
        SELECT box_id,
               SUM((MIN(COALESCE(end, :now), :stop) - MAX(start, :begin)) * micro_per_hour / 3600.0)
                   AS cost,
               SUM(micro_per_hour IS NULL) AS unknown
        FROM intervals WHERE start < :stop AND COALESCE(end, :now) > :begin GROUP BY box_id
        """,
        now=now,
        begin=start,
        stop=end,
    )
    return {row["box_id"]: None if row["unknown"] else round(row["cost"] or 0) for row in rows}


_OVERLAP = "MAX(0, MIN(COALESCE(i.end, :now), COALESCE(r.ended, :now)) - MAX(i.start, r.started))"
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
    SELECT r.job AS key, SUM({_OVERLAP}), SUM({_OVERLAP} * i.micro_per_hour / 3600.0),
           SUM(CASE WHEN i.micro_per_hour IS NULL THEN {_OVERLAP} ELSE 0 END)
    FROM r JOIN intervals i ON i.box_id = r.box_id
        AND i.start < COALESCE(r.ended, :now) AND COALESCE(i.end, :now) > r.started
        -- A box's intervals never overlap, so nothing before the one around r.started can count.
        AND i.start >= COALESCE((SELECT MAX(j.start) FROM intervals j
                                 WHERE j.box_id = r.box_id AND j.start <= r.started), r.started)
    GROUP BY r.job
"""  # noqa: S608


def _by_day(database: Database, now: float) -> list[Line]:
    span = database.named("SELECT MIN(start), MAX(COALESCE(end, :now)) FROM intervals", now=now)[0]
    if span[0] is None:
        return []
    days = _days(span[0], span[1])
    sums = {day: [0.0, 0.0, 0.0] for day, _, _ in days}
    for index, (day, begin, stop) in enumerate(days):
        row = database.named(
            "SELECT SUM(MIN(COALESCE(end, :now), :stop) - start), "
            "SUM((MIN(COALESCE(end, :now), :stop) - start) * micro_per_hour / 3600.0), "
            "SUM(CASE WHEN micro_per_hour IS NULL THEN MIN(COALESCE(end, :now), :stop) - start "
            "ELSE 0 END) FROM intervals WHERE start >= :begin AND start < :stop",
            now=now,
            begin=begin,
            stop=stop,
        )[0]
        _add(sums[day], row[0] or 0, row[1] or 0, row[2] or 0)
        # What began this day and runs past midnight belongs to the following days.
        for start, end, micro in database.named(
            "SELECT start, COALESCE(end, :now), micro_per_hour FROM intervals "
            "WHERE start >= :begin AND start < :stop AND COALESCE(end, :now) > :stop",
            now=now,
            begin=begin,
            stop=stop,
        ):
            for later, from_, to in days[index + 1 :]:
                seconds = min(end, to) - max(start, from_)
                if seconds <= 0:
                    break
                unknown = seconds if micro is None else 0.0
                _add(sums[later], seconds, seconds * (micro or 0) / 3600, unknown)
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

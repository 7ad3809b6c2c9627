"""Cost of intervals: pure arithmetic over frozen prices, in micro-dollars, and the same in SQL.

An interval is billed in units of its price: each unit that has begun counts whole (unit 0: time
counts as measured). What was billed by a moment never falls as that moment moves on, and is 0
before the interval starts, so that no cost is negative and the costs of adjacent windows add up.
One unknown price makes a sum unknown (None): a sum that leaves it out would be a wrong cost.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from devbox.model import Interval, Price

# Seconds by which a stretch may exceed whole units and not begin another: times are floats.
_SLACK = 0.001


def billed(seconds: float, unit: int) -> float:
    """Seconds that count for a stretch that lasted that long so far; never negative."""
    if seconds <= 0:
        return 0.0
    return math.ceil((seconds - _SLACK) / unit) * unit if unit else seconds


def billed_by(interval: Interval, moment: float) -> float:
    """Seconds of an interval that count by that moment."""
    stop = moment if interval.end is None else min(moment, interval.end)
    return billed(stop - interval.start, interval.price.unit)


def cost(price: Price, seconds: float) -> int | None:
    """Micro-dollars for one stretch of that length at that price."""
    if price.micro_per_hour is None:
        return None
    return round(price.micro_per_hour * billed(seconds, price.unit) / 3600)


def run_cost(intervals: Sequence[Interval], start: float, end: float) -> int | None:
    """What the given intervals cost between two times."""
    total = 0.0
    for interval in intervals:
        stop = end if interval.end is None else min(end, interval.end)
        if stop <= max(start, interval.start):
            continue
        if interval.price.micro_per_hour is None:
            return None
        seconds = billed_by(interval, end) - billed_by(interval, start)
        total += interval.price.micro_per_hour * seconds / 3600
    return round(total)


def billed_by_sql(moment: str, table: str = "") -> str:
    """`billed_by` of a row of the table `intervals` as an SQL expression. moment: an expression,
    not NULL; table: the row's name where it has one."""
    at = f"{table}." if table else ""
    seconds = f"MAX(0.0, MIN(COALESCE({at}end, {moment}), {moment}) - {at}start)"
    units = f"(({seconds} - {_SLACK}) / {at}unit)"
    # SQLite's own CEIL is not in every build. A cast cuts towards zero.
    whole = f"(CAST({units} AS INTEGER) + ({units} > CAST({units} AS INTEGER)))"
    return f"(CASE WHEN {at}unit = 0 THEN {seconds} ELSE {whole} * {at}unit END)"

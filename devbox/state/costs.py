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
# Cut towards zero after adding this, a number is rounded up: SQLite's CEIL is not in every build.
_NEXT = 1 - 1e-9


def billed(seconds: float, unit: int) -> float:
    """Seconds that count for a stretch that lasted that long so far; never negative."""
    if seconds <= 0:
        return 0.0
    return int((seconds - _SLACK) / unit + _NEXT) * unit if unit else seconds


def billed_by(interval: Interval, moment: float) -> float:
    """Seconds of an interval that count by that moment."""
    stop = moment if interval.end is None else min(moment, interval.end)
    return billed(stop - interval.start, interval.price.unit)


def cost(price: Price, seconds: float) -> int | None:
    """Micro-dollars for one stretch of that length at that price."""
    if price.micro_per_hour is None:
        return None
    return round(price.micro_per_hour * billed(seconds, price.unit) / 3600)


def spent_in(interval: Interval, begin: float, stop: float) -> tuple[float, float | None]:
    """Seconds of an interval between two times, and the micro-dollars billed then, not rounded;
    None when its price is unknown."""
    end = stop if interval.end is None else min(stop, interval.end)
    seconds = max(0.0, end - max(begin, interval.start))
    if not seconds:
        return 0.0, 0.0
    if interval.price.micro_per_hour is None:
        return seconds, None
    counted = billed_by(interval, stop) - billed_by(interval, begin)
    return seconds, interval.price.micro_per_hour * counted / 3600


def run_cost(intervals: Sequence[Interval], start: float, end: float) -> int | None:
    """What the given intervals cost between two times."""
    total = 0.0
    for interval in intervals:
        _, micro = spent_in(interval, start, end)
        if micro is None:
            return None
        total += micro
    return whole(total)


def whole(micro: float) -> int:
    """Whole micro-dollars of a sum. Floats that were added in another order differ far behind the
    point, and must not round to another number."""
    return round(round(micro, 3))


def apportioned(parts: Sequence[float]) -> list[int]:
    """Whole micro-dollars for each part, within one of it, which add up to `whole(sum(parts))`."""
    exact = [round(part, 3) for part in parts]
    shares = [math.floor(part) for part in exact]
    left = whole(math.fsum(parts)) - sum(shares)
    order = sorted(range(len(exact)), key=lambda i: shares[i] - exact[i])
    for index in order[: max(0, left)]:
        shares[index] += 1
    return shares


def billed_sql(seconds: str, unit: str = "unit") -> str:
    """`billed` as an SQL expression. seconds: an expression that is not negative."""
    counted = f"CAST(({seconds} - {_SLACK}) / {unit} + {_NEXT} AS INTEGER) * {unit}"
    return f"(CASE WHEN {unit} = 0 THEN {seconds} ELSE {counted} END)"


def billed_by_sql(moment: str, table: str) -> str:
    """`billed_by` of a row of the table `intervals` as an SQL expression. moment: an expression,
    not NULL; table: the row's name."""
    end = f"MIN(COALESCE({table}.end, {moment}), {moment})"
    return billed_sql(f"MAX(0.0, {end} - {table}.start)", f"{table}.unit")

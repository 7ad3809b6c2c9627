"""Cost of intervals: pure arithmetic over frozen prices, in micro-dollars.

cost = seconds / 3600 × micro-dollars per hour. One unknown price makes a sum unknown (None): a
sum that leaves it out would be a wrong cost.
"""

from __future__ import annotations

from collections.abc import Sequence

from devbox.model import Interval, Price


def cost(price: Price, seconds: float) -> int | None:
    """Micro-dollars for that long at that price."""
    if price.micro_per_hour is None:
        return None
    return round(price.micro_per_hour * seconds / 3600)


def run_cost(intervals: Sequence[Interval], start: float, end: float) -> int | None:
    """What the given billed intervals cost between two times."""
    total = 0.0
    for interval in intervals:
        stop = end if interval.end is None else min(end, interval.end)
        overlap = stop - max(start, interval.start)
        if overlap <= 0:
            continue
        if interval.price.micro_per_hour is None:
            return None
        total += interval.price.micro_per_hour * overlap / 3600
    return round(total)

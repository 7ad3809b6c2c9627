"""Which intervals a provider's answer opens and closes: pure, from a record to ledger rows.

A row with id 0 is a new interval; one with an id gets another begin, end or price. Intervals of a
box never overlap, and each has one price.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from devbox.model import Box, Interval
from devbox.providers.base import Observation
from devbox.state.boxes import Record

# Seconds within which a provider's own start time and ours mean the same start.
_SAME_START = 1.0
#: seconds from its begin in which a new price counts for a whole interval: it may have begun at one
#: that was known from earlier. Later a new price begins a new interval.
YOUNG = 600.0
# Seconds by which a start is told otherwise only when this computer's clock was set.
_CLOCK_SET = 5.0


def bill(record: Record, after: Box, seen: Observation, now: float) -> list[Interval]:
    """The rows that `seen` changes. after: the box with what was seen, at its present price."""
    current = _by_present_clock(record, seen)
    ended = now if seen.ended_at is None else min(seen.ended_at, now)
    if not seen.billed:
        return close(current, ended) if current else _unwatched(record, after, seen, ended)
    start = now if seen.billed_since is None else min(seen.billed_since, now)
    if current is None:
        return [_opened(after, start, record.last)]
    if _restarted(current, seen):
        # It stopped and began again behind our back: two stretches, not one.
        (first,) = close(current, min(ended, start))
    elif _same_price(current, after):
        return [] if current is record.current else [current]
    elif current.hardware == after.hardware and now - current.start < YOUNG:
        return [msgspec.structs.replace(current, price=after.price)]
    else:
        (first,) = close(current, now)
        start = now
    return [first, _opened(after, start, first)]


def bill_again(record: Record, after: Box, seen: Observation, now: float) -> list[Interval]:
    """The rows of a box that was thought to be over. A stretch that continued all the while stays
    one interval, since each interval is billed in whole units. Without `billed_since` the last
    stretch is taken to have continued."""
    since, last = seen.billed_since, record.last
    if not seen.billed:
        return []
    if last is None or last.end is None or (since is not None and since > last.end):
        return [_opened(after, now if since is None else since, last)]
    if _same_price(last, after):
        return [msgspec.structs.replace(last, end=None)]
    return [_opened(after, last.end, last)]


def past(box: Box, seen: Observation, there: Sequence[Interval], now: float) -> Interval | None:
    """An ended stretch as a new row, cut to where none is `there` yet; None when most of it is."""
    assert seen.billed_since is not None
    assert seen.ended_at is not None
    # A clock that is ahead moves both ends of the stretch; its length is right.
    late = max(0.0, seen.ended_at - now)
    start, end = seen.billed_since - late, seen.ended_at - late
    if end <= start or 2 * sum(_overlap(each, start, end) for each in there) > end - start:
        return None
    middle = (start + end) / 2
    ends = [each.end for each in there if each.end is not None and each.end <= middle]
    start = max([start, *ends])
    end = min([end, *(each.start for each in there if each.start >= middle)])
    priced = msgspec.structs.replace(
        box, hardware=seen.hardware or box.hardware, price=seen.price or box.price
    )
    return msgspec.structs.replace(_opened(priced, start, None), end=end)


def _overlap(interval: Interval, start: float, end: float) -> float:
    stop = end if interval.end is None else min(end, interval.end)
    return max(0.0, stop - max(start, interval.start))


def close(current: Interval | None, end: float) -> list[Interval]:
    """The open interval, if there is one, with its end."""
    return [msgspec.structs.replace(current, end=max(current.start, end))] if current else []


def _by_present_clock(record: Record, seen: Observation) -> Interval | None:
    """The open interval; where this computer's clock was set since it began, with that moment by
    the clock as it is now, so that its end is one by the same clock."""
    current, last = record.current, record.last
    if current is None or not seen.dated or seen.billed_since is None:
        return current
    if current.start < (seen.ended_at or 0.0) <= seen.billed_since:
        return current  # it has ended, and began again
    before = last.end if last and last.end is not None else 0.0
    # One that began where another ended has another price, in the middle of a stretch.
    if before == current.start or abs(seen.billed_since - current.start) <= _CLOCK_SET:
        return current
    return msgspec.structs.replace(current, start=max(before, seen.billed_since))


def _unwatched(record: Record, after: Box, seen: Observation, end: float) -> list[Interval]:
    """A whole stretch went by between two looks, as the provider tells afterwards. The first one of
    a box counts at the price that it was asked for at."""
    if seen.billed_since is None or seen.ended_at is None:
        return []
    # A clock that is ahead moves both ends of the stretch; its length is right.
    start = seen.billed_since - (seen.ended_at - end)
    last = (record.last.end if record.last else None) or 0.0
    if start < last - _SAME_START or end <= max(start, last):
        return []
    first = record.last is None and record.box.hardware == after.hardware
    return close(_opened(record.box if first else after, start, record.last), end)


def _restarted(current: Interval, seen: Observation) -> bool:
    return (
        seen.billed_since is not None
        and seen.billed_since > current.start + _SAME_START
        and seen.ended_at is not None
        and seen.ended_at > current.start
    )


def _same_price(interval: Interval, box: Box) -> bool:
    return (interval.hardware, interval.price.micro_per_hour) == (
        box.hardware,
        box.price.micro_per_hour,
    )


def _opened(box: Box, start: float, last: Interval | None) -> Interval:
    """A new interval. A provider's own start may lie before the end we wrote for the last one."""
    after = start if last is None or last.end is None else max(start, last.end)
    return Interval(0, box.id, box.name, box.provider, box.hardware, box.price, after, None)

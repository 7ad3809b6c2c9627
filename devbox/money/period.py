"""The time that a report is about, as a user types it: days, moments and durations in a zone."""

from __future__ import annotations

import datetime as dt
import math
import zoneinfo
from typing import Literal, NamedTuple

import msgspec

from devbox.errors import UsageError
from devbox.state.spending import EVER, start_of_day
from devbox.text import clean, parse_duration

Kind = Literal["day", "month", "ever"]
_WORDS = ("today", "yesterday", "week", "month", "year")


class Period(msgspec.Struct, frozen=True):
    """begin ≤ t < end, unix seconds; begin may be `EVER` and end infinite. zone: None for this
    computer's. name: of the zone."""

    begin: float = EVER
    end: float = math.inf
    zone: dt.tzinfo | None = None
    name: str = "local"


def parse(since: str | None, until: str | None, zone: str | None, now: float) -> Period:
    """since, until: a day (2026-11-30), a moment (2026-11-30T18:00, with an offset or in the zone),
    a time ago (7d), or today, yesterday, week, month, year. A day begins with its first moment as
    `since`, and ends with its last as `until`. UsageError."""
    at = _zone(zone)
    begin = EVER if since is None else _moment(since, at, now, last=False, option="--since")
    end = math.inf if until is None else _moment(until, at, now, last=True, option="--until")
    if begin >= end:
        raise UsageError(
            f"--since {clean(since or '', 40)} is not before --until {clean(until or '', 40)}",
            fix="for example: devbox cost --since 2026-11-01 --until 2026-11-30",
        )
    return Period(begin, end, at, clean(zone, 60) if zone else "local")


class Span(NamedTuple):
    """A budget's period: begin ≤ t < end, unix seconds. label: names it among those of its kind."""

    begin: float
    end: float
    label: str


def around(kind: Kind, at: float, zone: dt.tzinfo | None) -> Span:
    """The calendar day or month that a moment lies in, by the clocks of a zone; or all time."""
    if kind == "ever":
        return Span(EVER, math.inf, "ever")
    first = dt.datetime.fromtimestamp(at, zone).date()
    after = first + dt.timedelta(days=1)
    label = first.isoformat()
    if kind == "month":
        first = first.replace(day=1)
        after, label = (first + dt.timedelta(days=31)).replace(day=1), label[:7]
    return Span(start_of_day(first, zone), start_of_day(after, zone), label)


def _zone(name: str | None) -> dt.tzinfo | None:
    if name is None:
        return None
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise UsageError(
            f"there is no time zone {clean(name, 60)!r}",
            fix="for example: devbox cost --tz Europe/Berlin, or --tz UTC",
        ) from None


def _moment(text: str, zone: dt.tzinfo | None, now: float, *, last: bool, option: str) -> float:
    today = dt.datetime.fromtimestamp(now, zone).date()
    days = {
        "today": (today, today),
        "yesterday": (today - dt.timedelta(days=1),) * 2,
        "week": (today - dt.timedelta(days=today.weekday()), today),
        "month": (today.replace(day=1), today),
        "year": (today.replace(month=1, day=1), today),
    }
    try:
        if text in days:
            return _day(days[text][last], zone, last=last)
        if len(text) == 10:
            return _day(dt.date.fromisoformat(text), zone, last=last)
        if text[:1].isdecimal() and "-" not in text:
            return now - parse_duration(text)
        found = dt.datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=zone)).timestamp()
    except (ValueError, OverflowError, OSError):
        raise UsageError(
            f"{option} {clean(text, 40)!r} is not a time",
            fix="write a day (2026-11-30), a moment (2026-11-30T18:00), a time ago (7d), or one of "
            + ", ".join(_WORDS),
        ) from None


def _day(date: dt.date, zone: dt.tzinfo | None, *, last: bool) -> float:
    return start_of_day(date + dt.timedelta(days=last), zone)

"""Times of schedules, held against a clock on the wall that is read minute by minute."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from functools import lru_cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from devbox.spec import cron

#: zones and a moment of change in each: an hour, half an hour, at midnight, a whole day
CHANGES = [
    ("Europe/Berlin", "2026-03-29T01:00"),
    ("Europe/Berlin", "2026-10-25T01:00"),
    ("America/New_York", "2026-03-08T07:00"),
    ("America/New_York", "2026-11-01T06:00"),
    ("Australia/Lord_Howe", "2026-04-04T15:00"),
    ("Australia/Lord_Howe", "2026-10-03T15:30"),
    ("America/Santiago", "2026-04-05T03:00"),
    ("America/Santiago", "2026-09-06T04:00"),
    ("Pacific/Apia", "2011-12-30T10:00"),
    ("Asia/Kolkata", "2026-03-29T01:00"),
]
_AROUND = 36 * 3600  # seconds
_MINUTE = dt.timedelta(minutes=1)


@lru_cache
def walk(zone: str, change: str) -> tuple[tuple[float, dt.datetime], ...]:
    """Each real minute around the change, and what the clock on the wall shows then."""
    middle = dt.datetime.fromisoformat(change).replace(tzinfo=dt.UTC).timestamp()
    at = ZoneInfo(zone)
    moments = range(int(middle) - _AROUND, int(middle) + _AROUND, 60)
    return tuple((m, dt.datetime.fromtimestamp(m, at).replace(tzinfo=None)) for m in moments)


def moments(
    zone: str, change: str, wanted: Callable[[dt.datetime], bool], *, once: bool
) -> list[float]:
    """When a clock shows what is wanted. What it jumps over comes as much later as it jumped.
    once: and what it shows twice counts the first time."""
    minutes = walk(zone, change)
    found, before, shown = set(), minutes[0][1], set()
    for moment, wall in minutes[1:]:
        skipped = before + _MINUTE
        while skipped < wall:
            if wanted(skipped):
                found.add(moment + (skipped - before - _MINUTE).total_seconds())
            skipped += _MINUTE
        if wanted(wall) and not (once and wall in shown):
            found.add(moment)
        shown.add(wall)
        before = wall
    return sorted(each for each in found if each <= minutes[-1][0])


def chain(written: str, zone: str, change: str) -> list[float]:
    """One after the other."""
    (at, _), *_, (end, _) = walk(zone, change)
    found = []
    while (at := cron.following(written, ZoneInfo(zone), at) or end + 1) <= end:
        found.append(at)
    return found


@pytest.mark.parametrize(("zone", "change"), CHANGES)
@given(st.integers(0, 23), st.integers(0, 59))
@example(2, 30).via("in many gaps and folds")
@example(0, 0).via("a change at midnight")
@settings(max_examples=6)
def test_a_time_of_day_comes_once_each_day(zone: str, change: str, hour: int, minute: int) -> None:
    wanted = moments(zone, change, lambda w: (w.hour, w.minute) == (hour, minute), once=True)
    assert chain(f"{minute} {hour} * * *", zone, change) == wanted


@pytest.mark.parametrize(("zone", "change"), CHANGES)
@pytest.mark.parametrize("minutes", ["0,30", "5"])
def test_what_is_due_each_hour_follows_real_time(zone: str, change: str, minutes: str) -> None:
    wanted = moments(zone, change, lambda w: str(w.minute) in minutes.split(","), once=False)
    assert chain(f"{minutes} * * * *", zone, change) == wanted


@given(
    st.sampled_from(["0 8 * * 1-5", "30 2 * * *", "*/20 * * * *", "0 0 1 * *", "0 0 29 2 *"]),
    st.sampled_from([zone for zone, _ in CHANGES]),
    st.floats(0, 4e9),
    st.floats(0, 400 * 86400.0),
)
@settings(max_examples=25)
def test_the_latest_is_the_last_one_that_followed(
    written: str, zone: str, begin: float, span: float
) -> None:
    at = ZoneInfo(zone)
    found = cron.latest(written, at, begin, begin + span)
    if found is None:
        following = cron.following(written, at, begin)
        assert following is None or following > begin + span
    else:
        assert begin < found <= begin + span
        following = cron.following(written, at, found)
        assert following is not None
        assert following > begin + span


@given(
    st.text(max_size=30) | st.from_regex(r"([*0-9,/L#-]{1,4} ){4}[*0-9,/L#-]{1,4}", fullmatch=True)
)
@settings(max_examples=100)
def test_any_text_is_a_schedule_or_refused(written: str) -> None:
    try:
        fields = cron.expression(written)
    except ValueError as error:
        assert str(error)
    else:
        assert len(fields.split()) == 5
        assert cron.following(written, None, 1.8e9) is not None


def test_a_time_of_day_is_short_for_cron() -> None:
    assert cron.expression("20:05") == "5 20 * * *"
    assert cron.expression(" 7:00 ") == "0 7 * * *"
    with pytest.raises(ValueError, match="five fields"):
        cron.expression("24:00")

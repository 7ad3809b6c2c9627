"""When a schedule is due: cron expressions, read in a time zone. Pure.

A time of day that a change of clocks leaves out comes as much later as the clock jumped; one that
comes twice counts once, the first time. Where the hour is `*`, what is due follows real time: each
hour of the day counts, also one that the clock shows twice.
"""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from collections.abc import Iterator
from functools import lru_cache

_TIME = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])")
#: the most by which a zone has moved its clocks at once is a day (Samoa, 2011)
_MARGIN = dt.timedelta(hours=26)
#: seconds that are searched backwards, the near ones first; the longest holds two leap days
_SPANS = (2 * 86400.0, 62 * 86400.0, 9 * 366 * 86400.0)


@lru_cache(maxsize=256)
def expression(written: str) -> str:
    """The five fields of cron, from those or from a time of day such as 20:00. ValueError says
    what is wrong."""
    if at := _TIME.fullmatch(written.strip()):
        return f"{int(at[2])} {int(at[1])} * * *"
    from cronsim import CronSim, CronSimError  # why here: few projects have a schedule

    fields = written.split()
    if len(fields) != 5:
        raise ValueError("it has not the five fields of cron (minute hour day month weekday)")
    try:
        next(CronSim(" ".join(fields), dt.datetime(2000, 1, 1)))
    except (CronSimError, AssertionError, AttributeError) as error:
        raise ValueError(f"cron does not know it: {error or 'bad field'}") from None
    except StopIteration:
        raise ValueError("it never comes") from None
    return " ".join(fields)


def zone(name: str) -> dt.tzinfo | None:
    """The time zone of that name; None, this computer's, for ''. ValueError."""
    if not name:
        return None
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("there is no time zone of that name") from None


def following(written: str, at: dt.tzinfo | None, after: float) -> float | None:
    """The first time after `after`, unix seconds; None when it never comes again."""
    best: float | None = None
    last = dt.datetime.max
    for wall in _walls(written, _local(after, at) - _MARGIN):
        if wall > last:
            break
        for moment in _moments(written, wall, at):
            if moment > after and (best is None or moment < best):
                best = moment
                last = min(last, wall + _MARGIN)
    return best


def latest(written: str, at: dt.tzinfo | None, after: float, until: float) -> float | None:
    """The last time in after < time ≤ until, unix seconds; None for none."""
    for span in _SPANS:
        begin = max(after, until - span)
        end = _local(until, at) + _MARGIN
        found = None
        for wall in _walls(written, _local(begin, at) - _MARGIN):
            if wall > end:
                break
            for moment in _moments(written, wall, at):
                if begin < moment <= until and (found is None or moment > found):
                    found = moment
        if found is not None or begin == after:
            return found
    return None


def _walls(written: str, start: dt.datetime) -> Iterator[dt.datetime]:
    """What clocks on the wall show when it is due."""
    from cronsim import CronSim

    return CronSim(expression(written), start)


def _moments(written: str, wall: dt.datetime, at: dt.tzinfo | None) -> tuple[float, ...]:
    """When that is, unix seconds. Of a time that is left out, `fold=0` reckons with the offset
    before the change (PEP 495)."""
    first = wall.replace(tzinfo=at, fold=0).timestamp()
    if expression(written).split()[1] != "*":
        return (first,)
    second = wall.replace(tzinfo=at, fold=1).timestamp()
    return (first, second) if second > first else (first,)


def _local(moment: float, at: dt.tzinfo | None) -> dt.datetime:
    return dt.datetime.fromtimestamp(moment, at).replace(tzinfo=None)

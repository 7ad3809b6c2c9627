"""What was spent, summed inside SQLite so that millions of intervals stay fast.

A stretch of the ledger that lies whole between two times is summed in SQL; one that reaches over
either of them is reckoned by the same formula in Python (`state.costs`), and there are few of
those. A row's cost leaves out time at an unknown price; `unknown_seconds` says how much. The rows
of a report add up to what `spent_between` says of the same time, to the micro-dollar.
"""

from __future__ import annotations

import datetime as dt
import math
import sqlite3
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import msgspec

from devbox.model import Interval, Price
from devbox.state.costs import apportioned, billed_sql, spent_in, whole
from devbox.state.database import Database

By = Literal["box", "day", "job", "run", "project", "hardware", "provider"]
EVER = -math.inf  # a start before every interval
_GroupKey = tuple[str, str, str, str, int | None, int]  # as _KEY has them


class Line(msgspec.Struct, frozen=True):
    """One row of a report. cost: micro-dollars of the time whose price is known. runs, items: of
    a job or run, how many runs it had and how many items they finished."""

    key: str
    seconds: float
    cost: int
    unknown_seconds: float
    runs: int = 0
    items: int = 0

    @property
    def total(self) -> int | None:
        """The cost, or None when part of it is unknown."""
        return None if self.unknown_seconds > 0 else self.cost


class Group(NamedTuple):
    """The stretches of one box on one hardware at one price. micro: micro-dollars, not rounded,
    None at an unknown price."""

    box_id: str
    box_name: str
    provider: str
    hardware: str
    price: Price
    seconds: float
    micro: float | None


class Slice(NamedTuple):
    """A part of a report's time: begin ≤ t < end, unix seconds."""

    label: str
    begin: float
    end: float


class Sum(msgspec.Struct):
    """A sum that grows. micro: of the time whose price is known, not rounded."""

    seconds: float = 0.0
    micro: float = 0.0
    unknown: float = 0.0

    def add(self, seconds: float, micro: float | None) -> None:
        self.seconds += seconds
        self.micro += micro or 0.0
        self.unknown += seconds if micro is None else 0.0


def report(
    database: Database,
    by: By,
    now: float,
    *,
    since: float = EVER,
    until: float = math.inf,
    zone: dt.tzinfo | None = None,
    found: Sequence[Group] | None = None,
) -> list[Line]:
    """Spending between two times, not after now, grouped. Days are calendar days of that zone
    (None: this computer's), oldest first, else dearest first. Runs on one box may overlap, so that
    jobs and runs do not add up. found: the groups of that time, where the caller has them."""
    stop = min(until, now)
    if by == "day":
        return by_slice(database, days(database, since, stop, zone))
    if by in ("job", "run"):
        from devbox.state import run_spending  # why here: most reports ask for no runs

        return run_spending.report(database, by == "job", since, stop)
    return folded(groups(database, since, stop) if found is None else found, key(database, by))


def spent_between(database: Database, start: float, end: float, now: float) -> int | None:
    """Micro-dollars billed between two times; None when part of it has an unknown price."""
    found = groups(database, start, min(end, now))
    costs = [group.micro for group in found if group.micro is not None]
    return None if len(costs) < len(found) else whole(math.fsum(costs))


def spent_by_box(database: Database, start: float, end: float, now: float) -> dict[str, int | None]:
    """Box id → micro-dollars billed between two times; None when part of it has an unknown
    price. Boxes without any are left out."""
    sums: dict[str, Sum] = {}
    for (box, _, _, _, micro, _), known in _sums(database, start, min(end, now)).items():
        sums.setdefault(box, Sum()).add(known.seconds, None if micro is None else known.micro)
    return {box: None if each.unknown > 0 else whole(each.micro) for box, each in sums.items()}


def groups(database: Database, begin: float, stop: float) -> list[Group]:
    """All spending between two times, in groups that no report divides further but by time."""
    return [
        Group(
            box_id,
            box_name,
            provider,
            hardware,
            Price(micro, unit=unit),
            known.seconds,
            None if micro is None else known.micro,
        )
        for (box_id, box_name, provider, hardware, micro, unit), known in _sums(
            database, begin, stop
        ).items()
    ]


def _sums(database: Database, begin: float, stop: float) -> dict[_GroupKey, Sum]:
    """What `groups` gives, by what tells them apart."""
    found: dict[_GroupKey, Sum] = {}
    if stop <= begin:
        return found
    for *key, seconds, counted in database.rows(
        f"SELECT {_KEY}, SUM(end - start), SUM({billed_sql('(end - start)')}) "  # noqa: S608
        "FROM intervals INDEXED BY intervals_grouped "
        f"WHERE start >= ? AND end <= ? AND end > start GROUP BY {_KEY}",
        begin,
        stop,
    ):
        box_id, box_name, provider, hardware, micro, unit = key
        known = Sum(seconds, (micro or 0) * counted / 3600)
        found[box_id, box_name, provider, hardware, micro, unit] = known
    for each in _reaching_over(database, begin, stop):
        at = (*_whose(each), each.price.micro_per_hour, each.price.unit)
        found.setdefault(at, Sum()).add(*spent_in(each, begin, stop))
    return found


def folded(found: Iterable[Group], by: Callable[[Group], str]) -> list[Line]:
    """Groups added up by a key of theirs, dearest first."""
    sums: dict[str, Sum] = {}
    for group in found:
        sums.setdefault(by(group), Sum()).add(group.seconds, group.micro)
    return sorted(lines(sums), key=lambda line: (-line.cost, line.key))


def key(database: Database, by: By) -> Callable[[Group], str]:
    """What `folded` groups by, for every report but days, jobs and runs."""
    if by == "project":
        projects = {row[0]: row[1] for row in database.rows("SELECT id, project FROM boxes")}
        return lambda group: projects.get(group.box_id) or "–"
    if by == "hardware":
        return lambda group: f"{group.provider}/{group.hardware}"
    return lambda group: group.provider if by == "provider" else group.box_name


def lines(sums: dict[str, Sum]) -> list[Line]:
    """Sums as rows that add up to the micro-dollar."""
    costs = apportioned([each.micro for each in sums.values()])
    return [
        Line(key, each.seconds, cost, each.unknown)
        for (key, each), cost in zip(sums.items(), costs, strict=True)
    ]


def by_slice(database: Database, slices: Sequence[Slice]) -> list[Line]:
    """Spending in each of some adjacent slices; those without any are left out."""
    sums = slice_sums(database, slices)
    return lines({at.label: each for at, each in zip(slices, sums, strict=True) if each.seconds})


def slice_sums(database: Database, slices: Sequence[Slice]) -> list[Sum]:
    """The same, one for each slice."""
    found = [Sum() for _ in slices]
    for part, into in zip(slices, found, strict=True):
        row = database.rows(
            "SELECT SUM(end - start), "  # noqa: S608
            f"SUM({billed_sql('(end - start)')} * micro_per_hour / 3600.0), "
            "SUM(CASE WHEN micro_per_hour IS NULL THEN end - start END) "
            "FROM intervals INDEXED BY intervals_by_start WHERE start >= ? AND start < ? "
            "AND end <= ? AND end > start",
            part.begin,
            part.end,
            part.end,
        )[0]
        into.seconds, into.micro, into.unknown = (value or 0.0 for value in row)
    _add_each(found, slices, _crossing(database, slices))
    return found


def slice_sums_of(database: Database, slices: Sequence[Slice], box_name: str) -> list[Sum]:
    """The same of the boxes of one name."""
    found = [Sum() for _ in slices]
    ids = database.rows("SELECT DISTINCT box_id, box_name FROM intervals")
    for box_id in (row[0] for row in ids if row[1] == box_name):
        rows = database.rows(
            f"SELECT {_KEY}, start, end FROM intervals INDEXED BY intervals_grouped "  # noqa: S608
            "WHERE box_id = ? AND box_name = ? AND start < ? AND (end IS NULL OR end > ?)",
            box_id,
            box_name,
            slices[-1].end if slices else EVER,
            slices[0].begin if slices else EVER,
        )
        _add_each(found, slices, map(_interval, rows))
    return found


def _add_each(into: Sequence[Sum], slices: Sequence[Slice], found: Iterable[Interval]) -> None:
    """Each stretch to the slices that it lies in."""
    begins = [part.begin for part in slices]
    for each in found:
        at = max(0, bisect_right(begins, each.start) - 1)
        for index in range(at, len(slices)):
            if each.end is not None and each.end <= begins[index]:
                break
            into[index].add(*spent_in(each, begins[index], slices[index].end))


def days(database: Database, begin: float, stop: float, zone: dt.tzinfo | None) -> list[Slice]:
    """The calendar days between two times, the first and the last cut to them; from the first
    interval on. Empty where there is none."""
    begin = max(first(database), begin)
    if begin >= stop:
        return []
    date = dt.datetime.fromtimestamp(begin, zone).date()
    found: list[Slice] = []
    while True:
        midnight = start_of_day(date, zone)
        date += dt.timedelta(days=1)
        end = start_of_day(date, zone)
        label = (date - dt.timedelta(days=1)).isoformat()
        found.append(Slice(label, max(midnight, begin), min(end, stop)))
        if end >= stop:
            return found


def first(database: Database) -> float:
    """When the first stretch began; infinite where there is none."""
    found = database.rows("SELECT MIN(start) FROM intervals")[0][0]
    return math.inf if found is None else float(found)


def start_of_day(date: dt.date, zone: dt.tzinfo | None) -> float:
    """Unix seconds of a day's first moment in a zone; None: this computer's."""
    return dt.datetime.combine(date, dt.time(), zone).timestamp()


_KEY = "box_id, box_name, provider, hardware, micro_per_hour, unit"


def _whose(each: Interval) -> tuple[str, str, str, str]:
    return each.box_id, each.box_name, each.provider, each.hardware


def _reaching_over(database: Database, begin: float, stop: float) -> list[Interval]:
    """The stretches that are partly between two times."""
    where = "start < ? AND (end IS NULL OR end > ?) OR start < ? AND end > ? AND end <= ?"
    return _intervals(database, where, stop, stop, begin, begin, stop)


def _crossing(database: Database, slices: Sequence[Slice]) -> Iterator[Interval]:
    """The stretches that lie in more than one slice, or partly outside."""
    where = "start >= ? AND start < ? AND (end IS NULL OR end > ?)"
    before = [(EVER, slices[0].begin)] if slices else []
    for begin, end in (*before, *((part.begin, part.end) for part in slices)):
        yield from _intervals(database, where, begin, end, end)


def _intervals(database: Database, where: str, *values: object) -> list[Interval]:
    # The index alone answers `where`; only what is found is looked up.
    found = database.rows(
        f"SELECT {_KEY}, start, end FROM intervals WHERE id IN "  # noqa: S608
        f"(SELECT id FROM intervals INDEXED BY intervals_by_start WHERE {where})",
        *values,
    )
    return [_interval(row) for row in found]


def _interval(row: sqlite3.Row) -> Interval:
    box_id, name, provider, hardware, micro, unit, start, end = row
    return Interval(0, box_id, name, provider, hardware, Price(micro, unit=unit), start, end)

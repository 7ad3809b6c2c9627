"""Whether budgets were kept: of a box from `up` to `down`, of a computer by day and by month."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from devbox.model import Interval
from devbox.money.budget import POLL
from devbox.money.period import Kind, around
from devbox.state.costs import run_cost
from tests.simulation.laptop import Laptop
from tests.simulation.life import Life

_KINDS: dict[str, Kind] = {"daily": "day", "monthly": "month"}


class Stay(NamedTuple):
    """A computer is in one time zone from `start` to `end`, and its clock is not set."""

    zone: str
    start: float
    end: float


def of_boxes(life: Life) -> list[str]:
    """No box has cost more than its budget, but for what it costs between two looks at it. Of a box
    that two computers use each knows its own ledger only."""
    wrong = []
    for laptop in life.laptops:
        store, now = laptop.ws.store, laptop.clock()
        for box in store.boxes.all(over=True):
            limit = None if box.name in life.shared else life.budgets.get(box.name)
            found = store.ledger.of_box(box.id)
            spent = run_cost(found, 0, now) or 0
            if limit is not None and spent > limit * 1e6 + _slack(found, 0, now):
                wrong.append(f"{box.name} cost ${spent / 1e6:.2f} of its budget of ${limit:.2f}")
    return wrong


def of_computers(life: Life) -> list[str]:
    """No day and no month has cost more than its budget, but for what its boxes cost between two
    looks. Days and months are those of the zone in which the computer is then: of one in which it
    moved each part is held to the whole budget. What another computer may start is left out."""
    wrong = []
    for laptop in life.laptops:
        ledger = _ledger(life, laptop)
        for name, limit in laptop.limits.items():
            for stay in _stays(laptop, life.world.clock.now()):
                for start, end in _periods(name, stay):
                    found = [run_cost(each, start, end) or 0 for each in ledger]
                    slack = sum(_slack(each, start, end) for each in ledger)
                    if sum(found) > limit * 1e6 + slack:
                        day = datetime.fromtimestamp(start, ZoneInfo(stay.zone))
                        wrong.append(
                            f"{laptop.name} spent ${sum(found) / 1e6:.2f} of its {name} budget of "
                            f"${limit:.2f} from {day:%Y-%m-%d %H:%M} {stay.zone}"
                        )
    return wrong


def _ledger(life: Life, laptop: Laptop) -> list[list[Interval]]:
    store = laptop.ws.store
    boxes = [box for box in store.boxes.all(over=True) if box.name not in life.shared]
    return [store.ledger.of_box(box.id) for box in boxes]


def _slack(found: Sequence[Interval], start: float, end: float) -> float:
    """What a box costs between two looks, and the minute that has begun; and by how much it became
    dearer while it ran, which its watchdog is not told."""
    total, first = 0.0, 0
    for before, each in itertools.pairwise([None, *found]):
        assert each is not None
        price = each.price.micro_per_hour or 0
        if before is None or before.end != each.start:
            first = price
        begin, stop = max(start, each.start), min(end, each.end or end)
        if begin < stop:
            total = max(total, price * (POLL + 2 * each.price.unit) / 3600)
            total += max(0, price - first) * (stop - begin) / 3600
    return total


def _stays(laptop: Laptop, now: float) -> Iterator[Stay]:
    moves = [*laptop.moves, (now, "")]
    for (start, zone), (end, _) in itertools.pairwise(moves):
        if start < end:
            yield Stay(zone, start, end)


def _periods(name: str, stay: Stay) -> Iterator[tuple[float, float]]:
    """The days or months of a stay, cut to it."""
    at = stay.start
    while at < stay.end:
        end = min(around(_KINDS[name], at, ZoneInfo(stay.zone)).end, stay.end)
        yield at, end
        at = end

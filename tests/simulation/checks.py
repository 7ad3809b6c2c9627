"""What must hold of a life when it is over: each a list of sentences about what does not."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from devbox.model import Box, Interval
from devbox.state.costs import run_cost
from tests.emulators.common import Interval as Metered
from tests.simulation import budgets, files, prices
from tests.simulation.laptop import Laptop
from tests.simulation.life import Life
from tests.simulation.machine import Machine

ALLOWED = 0.001  # of the ledger against the meters
LATE = 60.0  # seconds that an idle pause may come after `after`


class Sums(NamedTuple):
    """Micro-dollars of one box by our ledger and by its provider's meter."""

    box: str
    ledger: float
    meter: float
    lag: float  # by which a new price may be late
    units: float  # one billing unit of each stretch

    @property
    def off(self) -> bool:
        """More than by what may be late, and by the minute in which a stretch begins or ends."""
        allowed = self.lag + self.units + ALLOWED * self.meter
        return abs(self.ledger - self.meter) > allowed


def all_wrong(life: Life) -> list[str]:
    kept = [*budgets.of_boxes(life), *budgets.of_computers(life)]
    return [
        *ledger(life),
        *pauses(life),
        *kept,
        *notices(life),
        *tracked(life),
        *files.resumed(life),
    ]


def ledger(life: Life) -> list[str]:
    found = list(sums(life))
    ours, theirs = sum(each.ledger for each in found), sum(each.meter for each in found)
    wrong = [f"the ledger is off: {each}" for each in found if each.off]
    if abs(ours - theirs) <= ALLOWED * theirs + sum(each.lag for each in found):
        return wrong
    worst = sorted(found, key=lambda each: -abs(each.ledger - each.meter))[:4]
    return [f"the ledger is off by {(ours - theirs) / theirs:+.3%} of ${theirs / 1e6:.0f}: {worst}"]


def sums(life: Life) -> Iterator[Sums]:
    """Of each box that one computer alone uses: another's ledger is not known here."""
    now = life.world.clock.now()
    meters: dict[str, list[Metered]] = {}
    for name, each in life.world.metered():
        meters.setdefault(name, []).append(each)
    for name, laptop in life.home.items():
        if name not in life.shared:
            ours, theirs = intervals(laptop, name), meters.get(name, [])
            lag = prices.explained(life.price_changes, laptop, name, ours, theirs, now)
            units = sum(each.rate * each.unit for each in theirs)
            yield Sums(name, _spent(ours, now), sum(each.cost(now) for each in theirs), lag, units)


def intervals(laptop: Laptop, name: str) -> list[Interval]:
    store = laptop.ws.store
    boxes = [box for box in store.boxes.all(over=True) if box.name == name]
    return [each for box in boxes for each in store.ledger.of_box(box.id)]


def _spent(found: list[Interval], now: float) -> float:
    return sum(run_cost([each], 0, now) or 0 for each in found)


def machines(life: Life) -> list[Machine]:
    return [*life.world.past, *life.world.machines.values()]


def pauses(life: Life) -> list[str]:
    """No busy box is paused, each idle one in time, and none without a warning."""
    wrong = []
    for machine in machines(life):
        for stop in machine.stops:
            if not stop.warned:
                wrong.append(f"{stop.box} was paused without a warning at {stop.at:.0f}")
            if stop.cause != "idle":
                continue
            if stop.busy:
                wrong.append(f"{stop.box} was paused although busy: {stop.busy} at {stop.at:.0f}")
            if not stop.after - 1 <= stop.idle <= stop.after + LATE:
                wrong.append(
                    f"{stop.box} was paused at {stop.at:.0f} after {stop.idle:.0f} s without use, "
                    f"where {stop.after:.0f} s are allowed"
                )
    for machine in life.world.machines.values():
        now = life.world.clock.now()
        if machine.watched and now - machine.last_use(now) > machine.given.policy.after + LATE:
            wrong.append(f"{machine.name} was never paused")
    return wrong


def notices(life: Life) -> list[str]:
    """Each once, but for what a box could not post before it stopped. Nothing is told twice under
    two names either, but by two computers of a box that both use."""
    receiver = life.world.receiver
    alike = Counter((n.kind, n.box, n.t, n.text) for n in receiver.told.values())
    both = life.shared
    twice = [f"tells twice: {key[3]}" for key, n in alike.items() if n > 1 + (key[1] in both)]
    wrong = [
        f"{receiver.taken[id_]} times: {receiver.told[id_].text}"
        for id_ in receiver.taken
        # What nobody tracks is found by each computer, and has the same name at both.
        if receiver.taken[id_] > (1 if receiver.told[id_].box else len(life.laptops))
        and id_ not in receiver.unanswered
    ]
    wrong += twice
    for machine in machines(life):
        ids = [notice.id for notice in machine.noted]
        wrong += [f"{n} notices are named {id_}" for id_, n in Counter(ids).items() if n > 1]
        for notice in machine.noted:
            if notice.id not in receiver.taken and not machine.lost_post:
                wrong.append(f"never told: {notice.text}")
    return wrong


def tracked(life: Life) -> list[str]:
    """Nothing lives that no computer knows, and nothing is left to do."""
    known: dict[str, list[Box]] = {}
    wrong = []
    for laptop in life.laptops:
        store = laptop.ws.store
        wrong += [
            f"{laptop.name}: open goal {goal.goal}, step {goal.step}"
            for goal in store.boxes.open_intents()
        ]
        for box in store.boxes.all():
            known.setdefault(box.handle, []).append(box)
            if store.ledger.current(box.id) and box.state.value != "running":
                wrong.append(f"{laptop.name}: {box.name} is {box.state} and billed")
    billing, lives = life.world.billing(), life.world.tracked()
    for handle, key in lives.items():
        if handle not in known:
            wrong.append(f"{handle} lives, and nobody knows")
            continue
        for box in known[handle]:
            if (box.state.value == "running") != (key in billing):
                wrong.append(f"{box.name} is {box.state}; billing: {key in billing}")
    return wrong


def error(life: Life) -> float:
    """Of the ledger, relative to the meters."""
    found = list(sums(life))
    theirs = sum(each.meter for each in found)
    return (sum(each.ledger for each in found) - theirs) / theirs if theirs else math.nan

"""What budgets leave, and until when boxes may spend it: pure arithmetic over limits, spending and
the boxes that cost.

Boxes that share a limit share the time that is left of it: all of them may run until the same
moment, at which together they have spent it. What cannot be stopped in time (a box of another
computer, a job, a box whose watchdog could not be told) is counted first, up to its max_uptime. So
together they cannot pass the limit, whichever of them is looked at.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from devbox.money.period import Kind, Span, around

#: seconds between two looks of whoever enforces budgets
POLL = 60.0
#: seconds before the cap at which a pause is asked for, as the box's watchdog does
LEAD = 30.0
#: parts of a limit that are told, each once in its period
LEVELS = (0.5, 0.8, 1.0)
_MOST_PERIODS = 4000  # more than ten years of days
_DUST = 1e-6  # seconds; sums of floats


class Limit(msgspec.Struct, frozen=True):
    """name: for people. key: which limit of the config it is. micro: micro-dollars in each
    period."""

    name: str
    key: str
    micro: int
    kind: Kind


class Member(msgspec.Struct, frozen=True):
    """What costs, or was asked to start, and counts in some limits. rate: micro-dollars an hour,
    None when unknown. unit: seconds that are billed whole. ends: its max_uptime (unix seconds).
    fixed: it cannot be stopped before that. armed: until when its watchdog lets it spend."""

    id: str
    name: str
    rate: int | None
    ends: float
    unit: int = 0
    fixed: bool = False
    armed: float = math.inf


class Standing(msgspec.Struct, frozen=True):
    """One limit now. spent: micro-dollars of this period whose price is known; unknown: there is
    other time. committed: what the members may still spend in this period. reached: when those
    that can be stopped must be; full: when it is spent if nothing is; infinite for never."""

    limit: Limit
    span: Span
    spent: int
    unknown: bool
    committed: int
    reached: float
    full: float
    members: tuple[Member, ...] = ()
    zone: dt.tzinfo | None = None

    @property
    def part(self) -> float:
        """Spent of the limit, 1 for all of it."""
        return self.spent / self.limit.micro if self.limit.micro else 1.0

    @property
    def left(self) -> int:
        return max(0, self.limit.micro - self.spent)

    def at_cap(self, now: float) -> bool:
        """It is spent, or will be before anything that is asked for now has its effect."""
        return self.part >= 1 or self.reached <= now + LEAD or self.full <= now + LEAD

    def keys(self, now: float) -> list[str]:
        """What is told now, the most important first: names of the limit, its amount, its period
        and each level that it has passed."""
        at = f"{self.limit.key}:{self.limit.micro}:{self.span.label}"
        passed = LEVELS if self.at_cap(now) else [part for part in LEVELS if self.part >= part]
        return [f"{at}:{level:g}" for level in reversed(passed)]


class Overrun(msgspec.Struct, frozen=True):
    """A period that a limit does not last for. spent, others: micro-dollars of it so far, and that
    the other members may still spend in it."""

    span: Span
    spent: int
    others: int


class Plan(msgspec.Struct, frozen=True):
    """What is to be done. until: box id → until when it may spend, infinite for no limit before
    its max_uptime. stop: ids of those that are at the cap; stuck: of fixed ones where the limit is
    spent. lower, higher: ids of those whose watchdog is armed with more, or less."""

    until: Mapping[str, float]
    stop: tuple[str, ...]
    stuck: tuple[str, ...]
    lower: tuple[str, ...]
    higher: tuple[str, ...]


def standing(
    limit: Limit,
    spent: int,
    members: Iterable[Member],
    now: float,
    *,
    zone: dt.tzinfo | None = None,
    unknown: bool = False,
) -> Standing:
    """members: those that count in this limit. zone: whose days and months count, None for this
    computer's."""
    found = tuple(members)
    span = around(limit.kind, now, zone)
    committed = sum(spends(each, now, span.end) for each in found)
    unpriced = any(each.rate is None for each in found)
    return Standing(
        limit,
        span,
        spent,
        unknown or unpriced,
        round(committed),
        _reached(limit, spent, found, now, zone),
        _reached(limit, spent, [replace(each, fixed=False) for each in found], now, zone),
        found,
        zone,
    )


def overrun(found: Standing, asked: Member, now: float) -> Overrun | None:
    """The first period in which a member that starts now, with what the others may spend before
    their own max_uptime, could pass the limit; None when it fits in each that it lives in."""
    at, spent = now, found.spent
    for _ in range(_MOST_PERIODS):
        span = around(found.limit.kind, at, found.zone)
        others = sum(spends(each, at, span.end) for each in found.members)
        mine = spends(asked, at, span.end)
        if spent + others + mine > found.limit.micro + 1:
            return Overrun(span, spent, round(others))
        at, spent = span.end, 0
        if at >= asked.ends:
            break
    return None


def decide(standings: Sequence[Standing], now: float) -> Plan:
    """What the limits ask of their members."""
    until: dict[str, float] = {}
    stuck: dict[str, None] = {}
    members: dict[str, Member] = {}
    for each in standings:
        for member in each.members:
            if member.fixed and each.full <= now + LEAD:
                stuck[member.id] = None
            elif not member.fixed and member.rate:
                members[member.id] = member
                reached = each.reached if each.reached < member.ends else math.inf
                until[member.id] = min(until.get(member.id, math.inf), reached)
    stop = tuple(key for key, at in until.items() if at <= now + LEAD)
    ahead = {key: _ahead(members[key], at) for key, at in until.items()}
    lower = tuple(key for key, more in ahead.items() if more < -max(1.0, members[key].unit))
    higher = tuple(key for key, more in ahead.items() if more > POLL)
    return Plan(until, stop, tuple(stuck), lower, higher)


def settle(standings: Sequence[Standing], now: float, arm: Callable[[str, float], bool]) -> Plan:
    """Arm with what is left: first those that get less, then those that get more, so that at no
    moment they have more together than there is. arm: tells one watchdog until when its box may
    spend, False when it could not; such a one counts with what it has. The plan as it is then."""
    failed: set[str] = set()
    armed: dict[str, float] = {}
    while True:
        plan = decide([_as_armed(each, armed, failed, now) for each in standings], now)
        lower = [key for key in plan.lower if key not in failed]
        for key in lower:
            if arm(key, plan.until[key]):
                armed[key] = plan.until[key]
            else:
                failed.add(key)
        if not lower:
            break
    for key in plan.higher:
        if key not in failed:
            arm(key, plan.until[key])
    return plan


def _as_armed(
    found: Standing, armed: Mapping[str, float], failed: set[str], now: float
) -> Standing:
    """A standing with what was armed since; what could not be armed counts with what it has."""
    members = [
        replace(each, fixed=True, ends=min(each.ends, each.armed))
        if each.id in failed
        else replace(each, armed=armed.get(each.id, each.armed))
        for each in found.members
    ]
    at = found.zone
    return standing(found.limit, found.spent, members, now, zone=at, unknown=found.unknown)


def _ahead(member: Member, until: float) -> float:
    """Seconds by which a member may spend longer than its watchdog lets it."""
    return min(until, member.ends) - min(member.armed, member.ends)


def may_spend(member: Member, until: float, now: float) -> int:
    """Micro-dollars for a member until that moment, in whole billing units."""
    seconds = max(0.0, until - now)
    unit = member.unit or 1
    return math.ceil((seconds + _DUST) // unit * unit * (member.rate or 0) / 3600)


def _reached(
    limit: Limit, spent: int, members: Sequence[Member], now: float, zone: dt.tzinfo | None
) -> float:
    """When the members that can be stopped have spent, with the others counted first, what a
    period leaves; infinite when none of them lives to see it."""
    free = [each for each in members if not each.fixed and each.rate]
    at, used = now, float(spent)
    for _ in range(_MOST_PERIODS):
        span = around(limit.kind, at, zone)
        fixed = sum(spends(each, at, span.end) for each in members if each.fixed)
        left = limit.micro - used - fixed
        while at < span.end:
            live = [each for each in free if each.ends > at]
            if not live:
                return math.inf
            rate = sum(each.rate or 0 for each in live) / 3600
            after = min(span.end, *(each.ends for each in live))
            if left < rate * (after - at - _DUST):
                return at + max(0.0, left) / rate
            left -= rate * (after - at)
            at = after
        used = 0.0
    return math.inf


def spends(member: Member, begin: float, end: float) -> float:
    """Micro-dollars of a member between two times, if nothing stops it before its max_uptime."""
    seconds = max(0.0, min(end, member.ends) - begin)
    return (member.rate or 0) * seconds / 3600

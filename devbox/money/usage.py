"""The ledger split into busy, idle, held and unknown by what boxes noted of themselves.

Time of which nothing is stored is unknown, never idle. The parts of a stretch add up to what it
cost, by the ledger's own formula: what was billed between two moments (`state.costs`).
"""

from __future__ import annotations

import datetime as dt
import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import msgspec

from devbox import spec
from devbox.model import Interval
from devbox.providers.guarded import policy_of
from devbox.state import spending
from devbox.state.costs import spent_in, whole
from devbox.state.spending import Group, Slice, Sum
from devbox.state.store import Store
from devbox.telemetry.replay import replay
from devbox.wire.codec import JsonObject
from devbox.wire.messages import Policy

Kind = Literal["busy", "idle", "held"]
KINDS: tuple[Kind, ...] = ("busy", "idle", "held")
_GAP = 90.0  # seconds between two digests of one stretch; they come every 30
_QUIET = 60.0  # idle seconds from which a box that is being stopped was not in use


class Use(NamedTuple):
    """A stretch in which a box was used in one way; unix seconds."""

    begin: float
    end: float
    kind: Kind


class Split(msgspec.Struct):
    """Sums of one box, or of one day. unknown: nothing is stored of that time."""

    key: str
    busy: Sum = msgspec.field(default_factory=Sum)
    idle: Sum = msgspec.field(default_factory=Sum)
    held: Sum = msgspec.field(default_factory=Sum)
    unknown: Sum = msgspec.field(default_factory=Sum)

    def parts(self) -> tuple[tuple[str, Sum], ...]:
        return (*((kind, getattr(self, kind)) for kind in KINDS), ("unknown", self.unknown))


class Saved(NamedTuple):
    """What another `after` would have saved: micro-dollars of idle time after its pauses, None at
    an unknown price; how often it would have paused, and how often a resume was needed then."""

    cost: int | None
    seconds: float
    pauses: int
    resumes: int


def uses(digests: Iterable[JsonObject]) -> list[Use]:
    """The stretches that digests tell, in order and apart; what is doubled or goes back in time is
    left out."""
    found: list[Use] = []
    reached = float("-inf")
    for digest in digests:
        at, use = _number(digest.get("t")), digest.get("use")
        if at is None or not isinstance(use, dict) or at <= reached:
            continue
        idle_for, seconds = _number(use.get("idle_for")) or 0.0, _number(use.get("seconds")) or 0.0
        begin = reached if at - reached <= _GAP else max(reached, at - min(seconds, _GAP))
        kind = _kind(str(use.get("state")), idle_for)
        before = found[-1] if found else None
        if before and kind != "busy" and before.kind == "busy" and before.end == begin:
            # Quiet time counts as use for a minute: it is known only now that it was idle.
            begin = max(before.begin, min(begin, at - idle_for))
            found[-1] = before._replace(end=begin)
        if found and found[-1].kind == kind and found[-1].end == begin:
            found[-1] = found[-1]._replace(end=at)
        else:
            found.append(Use(begin, at, kind))
        reached = at
    return [use for use in found if use.end > use.begin]


def by_box(
    store: Store, begin: float, stop: float, groups: Sequence[Group] | None = None
) -> list[Split]:
    """The split of each box by name, the most idle money first. groups: of that time, where the
    caller has them."""
    found: dict[str, Split] = {}
    for group in spending.groups(store.database, begin, stop) if groups is None else groups:
        split = found.setdefault(group.box_name, Split(group.box_name))
        split.unknown.add(group.seconds, group.micro)
    for interval, use in _known(store, begin, stop):
        if interval.box_name in found:
            _move(found[interval.box_name], interval, use, begin, stop)
    return sorted(found.values(), key=lambda split: (-split.idle.micro, split.key))


def by_slice(
    store: Store, slices: Sequence[Slice], sums: Sequence[Sum] | None = None
) -> list[Split]:
    """The split of each slice. sums: of the slices, where the caller has them."""
    sums = spending.slice_sums(store.database, slices) if sums is None else sums
    found = [
        Split(at.label, unknown=msgspec.structs.replace(each))
        for at, each in zip(slices, sums, strict=True)
    ]
    if not slices:
        return found
    begins = [at.begin for at in slices]
    for interval, use in _known(store, slices[0].begin, slices[-1].end):
        start = max(0, bisect_right(begins, max(use.begin, interval.start)) - 1)
        for at, split in zip(slices[start:], found[start:], strict=True):
            if at.begin >= use.end:
                break
            _move(split, interval, use, at.begin, at.end)
    return found


def saved(store: Store, after: float, begin: float, stop: float) -> Saved:
    """Each box's policy with another `after`, replayed over what is stored of it."""
    total, pauses, resumes = Sum(), 0, 0
    for box_id in store.usage.boxes(begin, stop):
        policy = _policy(store, box_id)._replace(after=after)
        digests = list(_digests(store, box_id, begin, stop))
        idle = [use for use in uses(digests) if use.kind == "idle"]
        intervals = store.ledger.of_box(box_id)
        for pause in replay(policy, digests).pauses:
            pauses += 1
            resumes += bool(pause.needed)
            for use in idle:
                low = max(use.begin, pause.start, begin)
                high = min(use.end, pause.end, stop)
                for interval in intervals if low < high else ():
                    total.add(*spent_in(interval, low, high))
    return Saved(None if total.unknown else whole(total.micro), total.seconds, pauses, resumes)


def _known(store: Store, begin: float, stop: float) -> Iterator[tuple[Interval, Use]]:
    for box_id in store.usage.boxes(begin, stop):
        intervals = store.ledger.of_box(box_id)
        starts = [interval.start for interval in intervals]
        for use in uses(_digests(store, box_id, begin, stop)):
            at = max(0, bisect_right(starts, use.begin) - 1)
            for interval in intervals[at:]:
                if interval.start >= use.end:
                    break
                yield interval, use


def _move(split: Split, interval: Interval, use: Use, begin: float, stop: float) -> None:
    """A known part of an interval is no longer unknown."""
    low, high = max(use.begin, begin), min(use.end, stop)
    if low >= high:
        return
    seconds, micro = spent_in(interval, low, high)
    getattr(split, use.kind).add(seconds, micro)
    split.unknown.add(-seconds, None if micro is None else -micro)


def _digests(store: Store, box_id: str, begin: float, stop: float) -> Iterator[JsonObject]:
    for line in store.usage.lines(box_id, begin, stop):
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            yield found


def _kind(state: str, idle_for: float) -> Kind:
    if state in ("warned", "saving", "pausing"):  # also ahead of max_uptime, which ends busy boxes
        return "idle" if idle_for >= _QUIET else "busy"
    return "held" if state == "held" else "idle" if state == "idle" else "busy"


def _policy(store: Store, box_id: str) -> Policy:
    box = store.boxes.get(box_id)
    return policy_of(spec.decode_box(box.spec).idle if box else spec.Idle())


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def days(store: Store, begin: float, stop: float, zone: dt.tzinfo | None) -> list[Split]:
    """The split of each calendar day that had any cost."""
    slices = spending.days(store.database, begin, stop, zone)
    return [split for split in by_slice(store, slices) if any(s.seconds for _, s in split.parts())]

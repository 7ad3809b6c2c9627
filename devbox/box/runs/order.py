"""Which of the runs that wait may begin, and what the others wait for. Pure: time comes in.

By priority, then by age. What a run in front needs and does not get yet is kept for it, with one
exception: a later run that is over in time may pass. It has a timeout, and is over (its
grace included) no later than PASS seconds after each run in front of it was queued; so no run is
held up by those that pass it for longer than that. A run without a timeout passes nobody.
"""

from __future__ import annotations

from typing import List, Literal, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from devbox.box.runs.devices import Device
from devbox.wire.codec import BIG, Number, Word
from devbox.wire.jobs import Queued
from devbox.wire.messages import Identity

PASS = 1800.0  # seconds
_NAMED = 3  # runs named in a sentence


class Entry(NamedTuple):
    """A run of the queue. since: seconds of the box's clock that never jumps. lasts: it is over so
    many seconds after it begins, None where that is not known. ready: it waits for no other run to
    succeed. holds: names of the GPUs that it has."""

    supervisor: Optional[Identity]
    since: Number = 0.0
    priority: int = 0
    gpus: int = 0
    max_runs: Optional[int] = None
    lasts: Optional[float] = None
    ready: bool = True
    service: bool = False
    holds: Tuple[Word, ...] = ()


class Verdict(NamedTuple):
    """begins: with `gpus`. Else queue: what is told of it, `since` left out."""

    begins: bool
    gpus: Tuple[str, ...] = ()
    queue: Queued = Queued(0.0, "gpus")


def judge(
    run: str,
    waiting: Mapping[str, Entry],
    holding: Mapping[str, Entry],
    devices: Sequence[Device],
    now: float,
) -> Verdict:
    """Of `run`, which is ready and waits. devices: those this box can give, as far as the caller
    has looked; `used` of one that a run has is that run's own."""
    held = {name: holder for holder, entry in holding.items() for name in entry.holds}
    free = [each for each in devices if each.name not in held]
    usable = [each.name for each in free if not each.is_used]
    places = {name for name, entry in holding.items() if entry.max_runs is not None}
    line = in_order(waiting)
    entries = [(name, waiting[name]) for name in line]
    begins = _begin(entries, len(usable), len(places), len(devices), now)
    place = line.index(run) + 1
    mine = waiting[run]
    if run in begins:
        first = sum(waiting[name].gpus for name in line[: place - 1] if name in begins)
        return Verdict(True, tuple(usable[first : first + mine.gpus]))
    told = _why(mine, devices, free, usable, holding, held, places)
    if told is None:
        kind: Literal["gpus", "max_runs"] = "gpus" if mine.gpus else "max_runs"
        told = Queued(0.0, kind, f"waits for its turn, after {line[0]}")
    return Verdict(False, queue=told._replace(place=place))


def in_order(waiting: Mapping[str, Entry]) -> List[str]:
    """The ids of those that are ready, the next one first."""
    ready = [name for name, entry in waiting.items() if entry.ready]
    return sorted(ready, key=lambda name: (-waiting[name].priority, waiting[name].since, name))


def _begin(
    line: Sequence[Tuple[str, Entry]], free: int, taken: int, devices: int, now: float
) -> Set[str]:
    """Those that begin now. free: GPUs; taken: places; kept, full, least: what of them, and of the
    places there are, is left by those in front."""
    kept, full, least = free, taken, BIG
    blocked: List[Entry] = []
    begins: Set[str] = set()
    for name, entry in line:
        place = int(entry.max_runs is not None)
        most = BIG if entry.max_runs is None else entry.max_runs
        fits = entry.gpus <= free and taken + place <= most
        least = min(least, most)
        in_turn = entry.gpus <= max(0, kept) and full + place <= (least if place else BIG)
        if fits and (in_turn or _passes(entry, blocked, now)):
            begins.add(name)
            free, taken = free - entry.gpus, taken + place
        elif entry.gpus > devices:
            continue  # a GPU was lost since: nothing is kept for what cannot begin
        else:
            blocked.append(entry)
        kept, full = kept - entry.gpus, full + place
    return begins


def _passes(entry: Entry, blocked: Sequence[Entry], now: float) -> bool:
    lasts = entry.lasts
    return lasts is not None and all(now + lasts <= each.since + PASS for each in blocked)


def _why(
    mine: Entry,
    devices: Sequence[Device],
    free: Sequence[Device],
    usable: Sequence[str],
    holding: Mapping[str, Entry],
    held: Mapping[str, str],
    places: Set[str],
) -> Optional[Queued]:
    """What is lacking on the box for it; None when only those in front of it are in its way."""
    wants = f"waits for {gpus(mine.gpus)}"
    if mine.gpus > len(devices):
        return Queued(0.0, "driver", f"{wants}: the box can give {len(devices)} now")
    if mine.gpus > len(free):
        holders = list(dict.fromkeys(held.values()))
        kind = "service " if all(holding[name].service for name in holders) else ""
        some = f", {len(free)} free" if free else ""
        return Queued(0.0, "gpus", f"{wants}{some}: held by {kind}{_named(holders)}")
    if mine.gpus > len(usable):
        used = [each for each in free if each.is_used]
        named = [f"{each.label} ({(each.used or 0) / 1e9:.1f} GB)" for each in used[:_NAMED]]
        return Queued(0.0, "programs", f"{wants}: other programs use {', '.join(named)}")
    if mine.max_runs is not None and len(places) >= mine.max_runs:
        most = f"max_runs = {mine.max_runs}"
        return Queued(0.0, "max_runs", f"waits for a place ({most}): {_named(sorted(places))} run")
    return None


def gpus(count: int) -> str:
    """'1 GPU', '2 GPUs'."""
    return "1 GPU" if count == 1 else f"{count} GPUs"


def _named(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")

"""Smaller hardware that would have done, with the evidence: what runs, and the box itself, held at
most. Only hardware of the same provider on which all of that would have fitted is named.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import msgspec

from devbox.model import Hardware, Offer
from devbox.state.store import Store

LEAST_RUNS = 3
#: what must stay free on smaller hardware: what is measured is not all that a driver and an
#: allocator take
_ROOM = 1.10
_DRIVER = 1 << 30


class Evidence(msgspec.Struct):
    """What one box held on one hardware. vram: bytes, over all of its GPUs, None while nothing was
    measured; memory likewise. runs: those that succeeded and told their peak; silent: those that
    told none, or have not ended, and may hold anything."""

    box_name: str
    provider: str
    hardware: str
    runs: int = 0
    silent: int = 0
    vram: int | None = None
    memory: int | None = None

    def add(self, state: str, status: bytes) -> None:
        """Take in a run. status: its last, as stored."""
        vram, memory = _peaks(status)
        if state not in ("succeeded", "failed", "cancelled") or memory is None:
            self.silent += 1
            return
        self.runs += state == "succeeded"
        self.vram = _larger(self.vram, vram)
        self.memory = _larger(self.memory, memory)

    def lacks(self, *, gpu: bool) -> str:
        """Why nothing may be concluded from it; '' when something may. gpu: it was on a GPU."""
        if self.silent:
            return f"{self.silent} of its runs told no peak"
        if self.runs < LEAST_RUNS:
            return f"fewer than {LEAST_RUNS} runs succeeded"
        if gpu and self.vram is None:
            return "no run told how much VRAM it held"
        return ""


class Sizing(msgspec.Struct, frozen=True):
    """offer: the cheapest hardware that would have done, None for none; saves: micro-dollars an
    hour. why: why none is named. own: what the box has."""

    evidence: Evidence
    own: Hardware | None = None
    offer: Offer | None = None
    saves: int = 0
    why: str = ""


def sizings(store: Store, offers: Sequence[Offer], begin: float, stop: float) -> list[Sizing]:
    """One for each box and hardware that runs were on between two times."""
    found = [_sized(evidence, offers) for evidence in gathered(store, begin, stop)]
    return sorted(found, key=lambda sizing: (-sizing.saves, sizing.evidence.box_name))


def gathered(store: Store, begin: float, stop: float) -> list[Evidence]:
    """What runs and digests tell, by box and hardware."""
    found: dict[tuple[str, str, str], Evidence] = {}
    for row in store.database.rows(_RUNS, stop, begin):
        at = row["box_name"], row["provider"], row["hardware"]
        evidence = found.setdefault(at, Evidence(*at))
        evidence.add(row["state"], row["status"])
    for evidence in found.values():
        _add_digests(store, evidence, begin, stop)
    return list(found.values())


def _sized(evidence: Evidence, offers: Sequence[Offer]) -> Sizing:
    theirs = [offer for offer in offers if offer.provider == evidence.provider]
    own = next((o for o in theirs if o.hardware.name == evidence.hardware), None)
    if own is None or own.price.micro_per_hour is None:
        return Sizing(evidence, why="its provider names no price for it now")
    if lacking := evidence.lacks(gpu=own.hardware.gpus > 0):
        return Sizing(evidence, own.hardware, why=lacking)
    price = own.price.micro_per_hour
    fitting = [
        (offer.price.micro_per_hour, offer.hardware.name, offer)
        for offer in theirs
        if offer.price.micro_per_hour is not None
        and offer.price.micro_per_hour < price
        and would_have_fitted(evidence, own.hardware, offer.hardware)
    ]
    if not fitting:
        return Sizing(evidence, own.hardware, why="nothing cheaper would have fitted")
    micro, _, offer = min(fitting, key=lambda each: each[:2])
    return Sizing(evidence, own.hardware, offer, price - micro)


def would_have_fitted(evidence: Evidence, own: Hardware, other: Hardware) -> bool:
    """Whether all that was measured has room there: in the memory, and in the VRAM of a single GPU,
    because how it was spread over several is not known. As many GPUs as before, since a program may
    ask for them."""
    if other.gpus < own.gpus:
        return False
    if memory_with_room(evidence.memory or 0) > other.memory:
        return False
    needed = vram_with_room(evidence.vram or 0)
    return not own.gpus or needed <= other.vram / max(1, other.gpus)


def vram_with_room(held: int) -> float:
    """Bytes that a GPU must have for what held so many."""
    return held * _ROOM + _DRIVER


def memory_with_room(held: int) -> float:
    """Bytes of memory that a machine must have for what held so many."""
    return held * _ROOM


def _add_digests(store: Store, evidence: Evidence, begin: float, stop: float) -> None:
    """What the box noted of all its GPUs while it was on that hardware, runs or not."""
    spans = store.database.rows(_SPANS, evidence.box_name, evidence.provider, evidence.hardware)
    for box_id, first, last in spans:
        low, high = max(first, begin), min(last if last is not None else stop, stop)
        for line in store.usage.lines(box_id, low, high) if low < high else ():
            try:
                digest = json.loads(line)
                if not low <= float(digest["t"]) <= high:
                    continue
                gpus = [_bytes(gpu.get("mem_used")) for gpu in digest.get("gpus") or ()]
                memory = _bytes((digest.get("mem") or {}).get("used"))
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                continue
            held = sum(each for each in gpus if each is not None)
            evidence.vram = _larger(evidence.vram, held if held else None)
            evidence.memory = _larger(evidence.memory, memory)


def _peaks(status: bytes) -> tuple[int | None, int | None]:
    """VRAM and memory that a run held at most."""
    try:
        peak = json.loads(status).get("peak") or {}
        return _bytes(peak.get("vram")), _bytes(peak.get("rss"))
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None, None


def _bytes(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1 << 60:
        return None
    return int(value)


def _larger(*values: int | None) -> int | None:
    return max((value for value in values if value is not None), default=None)


def best(found: Iterable[Sizing]) -> list[Sizing]:
    """Those that name something cheaper."""
    return [sizing for sizing in found if sizing.offer]


_RUNS = """
    SELECT r.state, r.status, i.box_name, i.provider, i.hardware
    FROM runs r JOIN intervals i ON i.box_id = r.box_id
        AND i.start = (SELECT MAX(j.start) FROM intervals j
                       WHERE j.box_id = r.box_id AND j.start <= r.started)
    WHERE r.started IS NOT NULL AND r.started < ? AND COALESCE(r.ended, r.started) >= ?
"""
_SPANS = (
    "SELECT box_id, start, end FROM intervals WHERE box_name = ? AND provider = ? AND hardware = ?"
)

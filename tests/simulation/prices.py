"""What the ledger may be off by when prices change: a new one counts from the first look after it,
and a look knows the list of the last minutes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from devbox.lifecycle.billing import YOUNG
from devbox.model import Interval
from tests.emulators.common import Interval as Metered

if TYPE_CHECKING:
    from tests.simulation.laptop import Laptop

#: seconds that a list may be old at a look
KNOWN = 300.0
_OFFER = 3600.0  # and at an offer
_UNIT = 60.0
_SAME = 1e-4


class Change(NamedTuple):
    """provider's hardware costs `after` micro-dollars an hour from `at` on, and `before` until
    then."""

    at: float
    provider: str
    hardware: str
    before: float
    after: float


def explained(
    changes: list[Change],
    laptop: Laptop,
    name: str,
    ledger: list[Interval],
    meter: list[Metered],
    now: float,
) -> float:
    """Micro-dollars by which the ledger of a box may differ from its meter. Wherever it counts at
    another price, that must be one of the list since shortly before the last look; of a stretch
    that nobody saw, one since what was offered before it until the first look after it."""
    looks, found = sorted(laptop.looks.get(name, [])), 0.0
    for mine, theirs in itertools.product(ledger, meter):
        rate, price = theirs.rate * 3600, mine.price.micro_per_hour
        if price is None or abs(price - rate) <= _SAME * rate:
            continue
        own = [c for c in changes if (c.provider, c.hardware) == (mine.provider, mine.hardware)]
        pieces = list(_pieces(mine, theirs, looks, own, now))
        over = theirs.end or now
        unseen = not any(theirs.start <= at <= over for at in looks)
        following = min((at for at in looks if at > over), default=now)
        for start, end in pieces:
            last = max((at for at in looks if at <= start), default=0.0)
            between = (last - _OFFER, following) if unseen else (last - KNOWN, end + YOUNG)
            if any(abs(price - p) <= _SAME * p for p in _listed(own, *between)):
                found += abs(price - rate) * (end - start) / 3600
        if own and pieces:  # where it is cut, a unit that has begun counts on both sides
            found += 2 * _UNIT * max(price, rate) / 3600
    return found


def _pieces(
    mine: Interval, theirs: Metered, looks: list[float], own: list[Change], now: float
) -> Iterator[tuple[float, float]]:
    """The time that both are about, cut where something may become known."""
    start = max(mine.start, theirs.start)
    end = min(mine.end or now, theirs.end or now)
    inner = [at for at in (*looks, *(change.at for change in own)) if start < at < end]
    yield from itertools.pairwise(sorted([start, *inner, end])) if start < end else ()


def _listed(own: list[Change], start: float, end: float) -> list[float]:
    """The prices that were in force between two times."""
    found = [price for c in own if start <= c.at <= end for price in (c.before, c.after)]
    before = [c.after for c in own if c.at < start]
    return found + before[-1:] + ([] if before else [c.before for c in own[:1]])

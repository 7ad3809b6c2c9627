"""Costs that no ledger sees, as the user's config names them: subscriptions, storage, egress."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping

import msgspec

from devbox.spec import FixedCost
from devbox.state.costs import whole
from devbox.state.spending import start_of_day

_GB = 1 << 30


class Other(msgspec.Struct, frozen=True):
    """A line beside the ledger. cost: micro-dollars."""

    name: str
    kind: str
    cost: int


def lines(
    costs: Mapping[str, FixedCost], begin: float, end: float, zone: dt.tzinfo | None
) -> list[Other]:
    """What each costs between two times: a month's price over the month's own length. Those that
    nothing is paid for then are left out."""
    if not (math.isfinite(begin) and math.isfinite(end)):
        return []
    found = (Other(name, paid.kind, _cost(paid, begin, end, zone)) for name, paid in costs.items())
    return [line for line in found if line.cost]


def _cost(paid: FixedCost, begin: float, end: float, zone: dt.tzinfo | None) -> int:
    monthly = paid.monthly if paid.monthly is not None else (paid.per_gb or 0) * paid.size / _GB
    if paid.since:
        begin = max(begin, start_of_day(paid.since, zone))
    if paid.until:
        end = min(end, start_of_day(paid.until + dt.timedelta(days=1), zone))
    total = 0.0
    month = dt.datetime.fromtimestamp(begin, zone).date().replace(day=1)
    while (first := start_of_day(month, zone)) < end:
        month = (month + dt.timedelta(days=31)).replace(day=1)
        following = start_of_day(month, zone)
        part = max(0.0, min(end, following) - max(begin, first)) / (following - first)
        total += monthly * 1_000_000 * part
    return whole(total)

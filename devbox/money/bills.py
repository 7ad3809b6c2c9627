"""Asking the providers for their bills, and comparing each with the ledger (`money.bill`)."""

from __future__ import annotations

import msgspec

from devbox.errors import DevboxError
from devbox.model import Box, Interval
from devbox.money.bill import Compared, compared
from devbox.money.period import Period
from devbox.providers.abilities import Charge, HasBill
from devbox.state import spending
from devbox.workspace import Workspace


class Reconciled(msgspec.Struct, frozen=True):
    """rows: by provider. without: providers that tell no bill. failed: those that did not now."""

    rows: dict[str, list[Compared]]
    without: list[str]
    failed: dict[str, DevboxError]


def reconcile(ws: Workspace, asked: Period, now: float) -> Reconciled:
    """Each account that boxes of that time were made with is asked once."""
    stop = min(asked.end, now)
    slices = spending.days(ws.store.database, asked.begin, stop, asked.zone)
    found = Reconciled({}, [], {})
    if not slices:
        return found
    begin = slices[0].begin
    used = {group.box_id for group in spending.groups(ws.store.database, begin, stop)}
    boxes = [box for box in ws.store.boxes.all(over=True) if box.id in used]
    names = {word: box.id for box in boxes for word in (box.handle, box.token) if word}
    for name in sorted({box.provider for box in boxes}):
        own = [box for box in boxes if box.provider == name]
        try:
            reports = _reports(ws, own, begin, stop)
        except DevboxError as error:
            found.failed[name] = error
            continue
        if reports is None:
            found.without.append(name)
            continue
        charges, lag = reports
        intervals: list[Interval] = [
            each for box in own for each in ws.store.ledger.of_box(box.id) if each.start < stop
        ]
        found.rows[name] = compared(intervals, charges, names, slices, now - lag)
    return found


def _reports(
    ws: Workspace, boxes: list[Box], begin: float, stop: float
) -> tuple[list[Charge], float] | None:
    """The charges of the accounts that the boxes were made with; None where their provider tells
    none. The second: seconds of time just gone by that are not in them yet."""
    providers = {id(provider): provider for provider in map(ws.provider_of, boxes)}
    charges: list[Charge] = []
    lag = 0.0
    for provider in providers.values():
        if not isinstance(provider, HasBill):
            return None
        charges += provider.bill(begin, stop)
        lag = max(lag, provider.bill_lag)
    return charges, lag

"""The providers' own bills beside the ledger, for each box and day, and what explains differences.

Pure. A difference is explained in this order: what the ledger has no price for, what is not in the
report yet, rounding to the billing unit, and what is left is unknown.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from devbox.model import Interval
from devbox.providers.abilities import Charge
from devbox.state.costs import spent_in, whole
from devbox.state.spending import Slice

#: floats, and the hour in which a second lies
_SAME = 100  # micro-dollars


class Compared(msgspec.Struct, frozen=True):
    """One box on one day; micro-dollars. box: its name, or '' for what the bill names no box for.
    ledger: None where part of it has an unknown price. why: what explains the difference."""

    day: str
    box: str
    ledger: int | None
    billed: int
    why: str = ""

    @property
    def difference(self) -> int | None:
        return None if self.ledger is None else self.billed - self.ledger


def compared(
    intervals: Iterable[Interval],
    charges: Sequence[Charge],
    names: Mapping[str, str],
    slices: Sequence[Slice],
    reported_by: float,
) -> list[Compared]:
    """intervals: of one provider. charges: of the same. names: handle → box id. reported_by: what
    was billed after it is not in the report yet. A charge that names no box belongs to the one box
    that ran on its hardware then; with none or several it stays apart."""
    by_box: dict[str, list[Interval]] = {}
    for interval in intervals:
        by_box.setdefault(interval.box_id, []).append(interval)
    owned: dict[str, list[Charge]] = {}
    apart: list[Charge] = []
    for charge in charges:
        box = _owner(charge, names, by_box) if charge.kind == "compute" else None
        (apart if box is None else owned.setdefault(box, [])).append(charge)
    found = []
    for at in slices:
        for box_id, own in by_box.items():
            row = _row(at, own, owned.get(box_id, ()), reported_by)
            if row:
                found.append(row)
        found += _apart(at, apart)
    return found


def _owner(
    charge: Charge, names: Mapping[str, str], by_box: Mapping[str, Sequence[Interval]]
) -> str | None:
    if charge.handle:
        box_id = names.get(charge.handle)
        return box_id if box_id in by_box else None
    if not charge.hardware:
        return None
    then = {
        box_id
        for box_id, own in by_box.items()
        for each in own
        if each.hardware == charge.hardware and _overlap(each, charge) > 0
    }
    return then.pop() if len(then) == 1 else None


def _overlap(interval: Interval, charge: Charge) -> float:
    end = math.inf if interval.end is None else interval.end
    return min(end, charge.end) - max(interval.start, charge.start)


def _row(
    at: Slice, own: Sequence[Interval], charges: Iterable[Charge], reported_by: float
) -> Compared | None:
    billed = whole(sum(_part(charge, at) for charge in charges))
    spent = [(each, *spent_in(each, at.begin, at.end)) for each in own]
    spent = [(each, seconds, micro) for each, seconds, micro in spent if seconds]
    if not spent and not billed:
        return None
    known = [micro for _, _, micro in spent if micro is not None]
    ledger = whole(sum(known)) if len(known) == len(spent) else None
    late = sum(spent_in(each, max(at.begin, reported_by), at.end)[1] or 0.0 for each, _, _ in spent)
    unit = sum((each.price.micro_per_hour or 0) * each.price.unit / 3600 for each, _, _ in spent)
    name = own[-1].box_name
    return Compared(at.label, name, ledger, billed, _why(ledger, billed, late, unit))


def _why(ledger: int | None, billed: int, late: float, unit: float) -> str:
    if ledger is None:
        return "the ledger has no price for part of it"
    left = billed - ledger
    parts = []
    if abs(left) > _SAME and late:
        parts.append("not reported yet")
        left += whole(late)
    if abs(left) > _SAME and abs(left) <= unit:
        parts.append("rounding to the billing unit")
        left = 0
    if abs(left) > _SAME:
        parts.append("unknown")
    return ", ".join(parts)


def _apart(at: Slice, charges: Iterable[Charge]) -> list[Compared]:
    sums: dict[str, float] = {}
    for charge in charges:
        word = "no box known here" if charge.kind == "compute" else charge.kind
        what = f"{word}: {charge.product or charge.hardware or charge.handle}"
        sums[what] = sums.get(what, 0.0) + _part(charge, at)
    return [
        Compared(at.label, "", 0, whole(micro), what)
        for what, micro in sums.items()
        if whole(micro)
    ]


def _part(charge: Charge, at: Slice) -> float:
    """What of a charge falls into a slice, by the clock."""
    if not math.isfinite(charge.end):
        # It is not over: what was charged so far is spread up to the slice that is not over.
        charge = charge._replace(end=max(at.end, charge.start + 1))
    length = charge.end - charge.start
    if length <= 0:
        return charge.micro if at.begin <= charge.start < at.end else 0.0
    share = min(charge.end, at.end) - max(charge.start, at.begin)
    return charge.micro * max(0.0, share) / length

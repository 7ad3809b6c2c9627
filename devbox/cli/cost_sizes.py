"""`devbox cost --sizes`: cheaper hardware on which what was run had fitted, with the evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from devbox.cli.common import echo, print_json
from devbox.text import counted, dollars, size
from devbox.text_layout import plain

if TYPE_CHECKING:
    from devbox.money.period import Period
    from devbox.money.sizing import Sizing
    from devbox.workspace import Workspace


def tell(ws: Workspace, asked: Period, now: float, *, as_json: bool) -> None:
    """Print each box with what is cheaper, or why nothing is named. Asks the providers for their
    prices."""
    from devbox.money import sizing
    from devbox.money.offers import gather

    stop = min(asked.end, now)
    used = sorted({e.provider for e in sizing.gathered(ws.store, asked.begin, stop)})
    offers, failed = gather(ws, used)
    found = sizing.sizings(ws.store, offers, asked.begin, stop)
    for name, why in failed.items():
        echo(f"{name}: no offers: {why}", err=True)
    if as_json:
        print_json("cost-sizes", as_of=now, rows=[_fields(each) for each in found], failed=failed)
        return
    if not found:
        echo("no run has ended yet in that time: there is no evidence", err=True)
    for each in found:
        echo(sentence(each))


def sentence(found: Sizing) -> str:
    """Such as: gpu (l40sx1): peak 17.0 GB of 48.0 GB VRAM over 12 runs; l4x1 saves $1.00/h."""
    evidence, own = found.evidence, found.own
    parts = []
    if evidence.vram is not None:
        of = f" of {size(own.vram)}" if own and own.vram else ""
        parts.append(f"{size(evidence.vram)}{of} VRAM")
    if evidence.memory is not None:
        of = f" of {size(own.memory)}" if own and own.memory else ""
        parts.append(f"{size(evidence.memory)}{of} memory")
    held = f"peak {', '.join(parts)} over {counted(evidence.runs, 'run')}" if parts else "no peak"
    where = f"{plain(evidence.box_name, 60)} ({plain(evidence.hardware, 40)})"
    if found.offer is None:
        return f"{where}: {held}; {found.why}"
    name = plain(found.offer.hardware.name, 40)
    saves = dollars(found.saves, per_hour=True)
    return f"{where}: {held}; {name} saves {saves}, and may take longer"


def _fields(found: Sizing) -> dict[str, object]:
    return {
        **msgspec.to_builtins(found.evidence),
        "suggested": found.offer.hardware.name if found.offer else None,
        "saves_micro_per_hour": found.saves,
        "why": found.why,
    }

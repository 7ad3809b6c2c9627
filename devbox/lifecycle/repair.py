"""A damaged record rebuilt: what can be read of it is kept, the rest comes from the providers."""

from __future__ import annotations

from pathlib import Path

import msgspec

from devbox import paths, spec
from devbox.errors import StateDamaged
from devbox.files import write_atomic
from devbox.lifecycle.operation import BoxOperation
from devbox.lifecycle.reconcile import reconcile
from devbox.lifecycle.untracked import Finding, providers_in_use
from devbox.model import Box
from devbox.providers import registry
from devbox.state import salvage
from devbox.state.boxes import Unreadable
from devbox.text import clean
from devbox.workspace import Workspace


def repair(ws: Workspace) -> list[str]:
    """Mend the state file, then track again what the providers have with our tag; a line for each
    thing done, none when nothing was damaged. Copies of what was damaged stay in devbox's
    folder."""
    done = _file(ws)
    dropped = ws.store.boxes.unreadable()
    done += [_drop(ws, row) for row in dropped]
    mended = [_mend(ws, box) for box in ws.store.boxes.all() if spec.unread(box.spec)]
    if not done:
        return mended
    done += mended
    known, findings = set(providers_in_use(ws)), []
    for provider in registry.NAMES:
        found = reconcile(ws, provider=provider, wanted="adopt")
        unasked = [f for f in found if f.kind == "failed" and f.name == "-"]
        if unasked and provider not in known:
            done.append(f"{provider}: not asked: {unasked[0].detail}")
            continue  # nothing says that it was ever used
        findings += found
    done += [f"{f.provider} {f.name}: {f.kind}: {f.detail}" for f in findings]
    return done + [_account(ws, row, findings) for row in dropped]


def _file(ws: Workspace) -> list[str]:
    path = paths.state_db()
    try:
        salvage.check(ws.store.database)
        return []
    except StateDamaged as error:
        ws.narrate(error.what)
    ws.close()
    aside = salvage.move_aside(path, ws.clock())
    kept = salvage.copy(aside, ws.store.database)
    return [f"the damaged state file is kept as {aside}; {kept} rows of it could be read"]


def _drop(ws: Workspace, row: Unreadable) -> str:
    copy = _keep_copy(ws, row.id)
    ws.store.boxes.delete(row.id)
    return f"{clean(row.name, 60)}: its record cannot be mended; it is kept as {copy}"


def _mend(ws: Workspace, box: Box) -> str:
    copy = _keep_copy(ws, box.id)
    whole = msgspec.structs.replace(spec.decode_box(box.spec), provider=box.provider)
    BoxOperation(ws, box).amend(spec=spec.encode_box(whole))
    return f"{box.name}: its record was mended; the damaged one is kept as {copy}"


def _keep_copy(ws: Workspace, box_id: str) -> Path:
    body = ws.store.boxes.raw(box_id)["body"]
    name = "".join(c if c.isalnum() else "_" for c in box_id[:40])
    copy = paths.home() / f"damaged-{name}.json"
    write_atomic(copy, body if isinstance(body, bytes) else str(body))
    return copy


def _account(ws: Workspace, row: Unreadable, findings: list[Finding]) -> str:
    """What was spent on a dropped row's box stays in the ledger, under the box that was adopted
    in its place if there is one."""
    names = {f.name for f in findings if f.kind == "adopted"}
    box = next((b for b in ws.store.boxes.all() if b.name == row.name and b.name in names), None)
    ws.store.ledger.hand_over(row.id, box.id if box else None, ws.clock())
    if box:
        return f"{box.name}: its box was found at {box.provider} and is tracked again"
    return (
        f"{clean(row.name, 60)}: no provider that could be asked has it; it is no longer tracked "
        "or counted. If it was elsewhere: devbox reconcile --adopt"
    )

"""Budgets kept from this computer: told at 50 % and 80 %, watchdogs armed with what is left, and
what has spent its limit saved and paused.

The box's own watchdog is the first to act, and works with this computer off. The dashboard has
`enforce` called every minute where there is something to do, `devbox guard` calls it at each look,
and `devbox budget --enforce` once.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from devbox import paths, process
from devbox.errors import Busy, DevboxError, Locked
from devbox.files import locked, private_dir
from devbox.lifecycle.down import down
from devbox.lifecycle.observe import refresh
from devbox.lifecycle.operation import BoxOperation
from devbox.lifecycle.pause import pause, require_can_pause
from devbox.model import Box, BoxState
from devbox.money import budget, limits
from devbox.money.budget import Plan, Standing
from devbox.remote.exec import Exec
from devbox.telemetry import rearm
from devbox.text import dollars
from devbox.workspace import Workspace

_AT_ONCE = 8  # boxes that are paused at the same time
_FRESH = 300.0  # seconds; what is known of a box is not news for longer


class Done(msgspec.Struct, frozen=True):
    """kind: told, armed, paused, ended; failed: something of it could not be done, and is tried
    again by the next call. box: '' for none."""

    kind: str
    box: str
    detail: str


def enforce(ws: Workspace) -> list[Done]:
    """Do what the budgets of all projects ask for now. Nothing where another devbox is at it.

    It may take minutes: a box is saved before it is paused. What one box refuses stops no other."""
    try:
        with locked(private_dir(paths.home() / "locks") / "enforce.lock", timeout=0):
            found = _looked(ws)
            done = _tell(ws, found)
            plan, armed = _arm(ws, found)
            return [*done, *armed, *_stop(ws, found, plan)]
    except Locked:
        return []


def tell(ws: Workspace) -> list[Done]:
    """Only tell what was crossed, by this folder's limits and without asking a provider, where what
    is known of the boxes is fresh: one that paused itself since costs nothing. Cheap: after each
    verb."""
    found = limits.standings(ws)
    boxes = ws.store.boxes.readable(_ids(found))
    if any(box.seen < ws.clock() - _FRESH for box in boxes):
        return []
    return _tell(ws, found)


def begin(ws: Workspace) -> None:
    """Have it done, where there is something to do, by a process that outlives us. For whoever must
    not wait, once a minute."""
    found = limits.standings(ws, everywhere=True)
    _tell(ws, found)
    plan = budget.decide(found, ws.clock())
    if plan.stop or plan.stuck or plan.lower or plan.higher or _freed(ws, plan):
        root = str(ws.spec.root)
        process.spawn([sys.executable, "-P", "-m", "devbox.lifecycle.enforce", root])


def _looked(ws: Workspace) -> list[Standing]:
    """The limits of all projects, once the providers were asked about the boxes that cost."""
    found = limits.standings(ws, everywhere=True)
    boxes = ws.store.boxes.readable(_ids(found))
    if not boxes:
        return found
    refresh(ws, boxes)
    return limits.standings(ws, everywhere=True)


def _ids(found: Sequence[Standing]) -> list[str]:
    return list(dict.fromkeys(member.id for each in found for member in each.members))


def _freed(ws: Workspace, plan: Plan) -> list[str]:
    """Ids of boxes that run and are armed with a limit which no longer counts for them."""
    bound = [key for key, until in ws.store.budgets.armed().items() if until is not None]
    return [
        box.id
        for box in ws.store.boxes.readable(bound)
        if box.state is BoxState.RUNNING and box.id not in plan.until and box.id not in plan.stuck
    ]


def _tell(ws: Workspace, found: Sequence[Standing]) -> list[Done]:
    done = []
    for each in found:
        now = ws.clock()
        keys = each.keys(now)
        if not keys:
            continue
        label = "" if each.limit.kind == "ever" else f" ({each.span.label})"
        spent = f"{dollars(each.spent)} of {dollars(each.limit.micro)}"
        if each.at_cap(now):
            running = ", ".join(member.name for member in each.members)
            stops = f"; at its cap: {running}" if running else ""
            message = f"the {each.limit.name}{label} is reached: {spent}{stops}"
        else:
            passed = max(level for level in budget.LEVELS if each.part >= level)
            message = f"{passed:.0%} of the {each.limit.name}{label} is spent: {spent}"
        box = each.limit.key.removeprefix("box-") if each.limit.key.startswith("box-") else ""
        if ws.store.budgets.tell(keys, box, message, now):
            ws.narrate(message)
            done.append(Done("told", box, message))
    return done


def _arm(ws: Workspace, found: Sequence[Standing]) -> tuple[Plan, list[Done]]:
    """Arm the watchdogs with what is left. The plan as it is then."""
    done: list[Done] = []

    def arm(box_id: str, until: float) -> bool:
        one = _arm_one(ws, box_id, until)
        done.extend(one)
        return all(each.kind != "failed" for each in one)

    plan = budget.settle(found, ws.clock(), arm)
    for box_id in _freed(ws, plan):
        arm(box_id, math.inf)
    return plan, done


def _arm_one(ws: Workspace, box_id: str, until: float) -> list[Done]:
    box = next(iter(ws.store.boxes.readable([box_id])), None)
    if box is None or box.state is not BoxState.RUNNING or not box.endpoint:
        return []
    try:
        rearm.arm(ws, box, Exec(box), until=until)
    except DevboxError as error:
        return [Done("failed", box.name, f"its watchdog could not be told: {error.what}")]
    return [Done("armed", box.name, "its watchdog was told what it may spend")]


def _stop(ws: Workspace, found: Sequence[Standing], plan: Plan) -> list[Done]:
    """Save and pause what is at its limit, all at the same time."""
    wanted = ws.store.boxes.readable((*plan.stop, *plan.stuck))
    wanted = [box for box in wanted if not box.state.is_over and box.state is not BoxState.PAUSED]
    if not wanted:
        return []
    with ThreadPoolExecutor(min(_AT_ONCE, len(wanted))) as pool:
        return [each for each in pool.map(lambda box: _stop_one(ws, box, found), wanted) if each]


def _stop_one(ws: Workspace, box: Box, found: Sequence[Standing]) -> Done | None:
    op = BoxOperation(ws, box)
    try:
        try:
            require_can_pause(op)
        except DevboxError as error:
            return _unpausable(ws, box, found, error)
        return _pause(op)
    except Busy:
        return None  # another verb is at it; the next call looks again
    except DevboxError as error:
        cost = f"{box.name} is at the cap of its budget, and was not paused: {error.what}"
        _once(ws, box, found, "failed", cost)
        return Done("failed", box.name, error.what)


def _pause(op: BoxOperation) -> Done:
    """Saved first. Where the pause keeps the disk, files that could not be fetched stay on it;
    elsewhere the box runs on for their sake: lost work is worse than money."""
    ws, box = op.ws, op.box
    try:
        pause(ws, box)
    except Busy:
        raise
    except DevboxError as error:
        if not op.provider.pause_keeps(op.spec).disk:
            raise
        ws.narrate(error.what)
        pause(ws, box, save=False)
    detail = "paused at the cap of its budget"
    ws.store.events.add(box.id, "pause", detail, ws.clock())
    return Done("paused", box.name, detail)


def _unpausable(ws: Workspace, box: Box, found: Sequence[Standing], error: DevboxError) -> Done:
    """One that cannot pause ends only if the user's config says so."""
    if ws.spec.user_budget.end_unpausable:
        down(ws, box)
        detail = "ended at the cap of its budget, as it cannot pause (budget.end_unpausable)"
        ws.store.events.add(box.id, "pause", detail, ws.clock())
        return Done("ended", box.name, detail)
    detail = f"{box.name} is at the cap of its budget, still costs, and cannot pause: {error.what}"
    _once(ws, box, found, "unpausable", f"{detail}; end it with: devbox down {box.name}")
    return Done("failed", box.name, detail)


def _once(ws: Workspace, box: Box, found: Sequence[Standing], what: str, message: str) -> None:
    """Tell it once in the period of the limit that it is about."""
    first = next((each for each in found if any(m.id == box.id for m in each.members)), None)
    at = f"{first.limit.key}:{first.span.label}" if first else ""
    if ws.store.budgets.tell([f"{what}:{box.id}:{at}"], box.id, message, ws.clock()):
        ws.narrate(message)


if __name__ == "__main__":
    enforce(Workspace.open(Path(sys.argv[1])))

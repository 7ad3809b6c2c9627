"""Compare what we remember with what the providers have, and make them agree.

Three kinds of difference: goals that a crash left open are finished; boxes that changed or
vanished are recorded so; resources with our tag that this computer does not know are listed,
adopted or removed. Nothing new is ever created here: a box that was asked for but does not exist
at the provider is given up, because nobody is waiting for it and nothing was billed.
"""

from __future__ import annotations

from collections.abc import Sequence

from devbox.errors import Busy, DevboxError, Unanswered, Unavailable
from devbox.lifecycle import absence, history
from devbox.lifecycle.asking import find_handle, look
from devbox.lifecycle.down import finalize, to_terminated
from devbox.lifecycle.observe import find_lost, observe, refresh
from devbox.lifecycle.operation import BoxOperation, working_on
from devbox.lifecycle.pause import to_paused
from devbox.lifecycle.untracked import Finding, Strangers, providers_in_use, settle_untracked
from devbox.lifecycle.up import to_running
from devbox.model import Box, BoxState
from devbox.state.boxes import Intent
from devbox.telemetry import rearm
from devbox.text import duration
from devbox.workspace import Workspace


def reconcile(
    ws: Workspace, *, provider: str | None = None, wanted: Strangers = "list"
) -> list[Finding]:
    """Settle every open goal, look at every live box, then at what else carries our tag."""
    findings: list[Finding] = []
    silent: dict[str, str] = {}  # provider → why; one that was waited for once is not again
    for intent in ws.store.boxes.open_intents():
        box = ws.store.boxes.get(intent.box_id)
        if box and provider in (None, box.provider):
            findings += _settle(ws, box, intent, silent)
    boxes = [box for box in ws.store.boxes.all() if provider in (None, box.provider)]
    for before, after in zip(boxes, refresh(ws, boxes), strict=True):
        if before.state is not after.state:
            findings.append(_finding("changed", after, f"{before.state} → {after.state}"))
        elif after.unreachable:
            findings.append(_finding("failed", after, f"unreachable: {after.unreachable}"))
        elif seen := rearm.look(ws, after):
            findings.append(_finding(seen, after, _WATCHDOG[seen]))
    findings += [
        _finding("changed", box, f"lost → {box.state}: it is there again")
        for box in find_lost(ws, provider)
    ]
    for told in history.settle(ws, provider):
        findings.append(_finding("failed" if told.failed else "changed", told.box, told.line))
    for name in [provider] if provider else providers_in_use(ws):
        if name in silent:
            findings.append(Finding("failed", "-", name, silent[name]))
        else:
            findings += settle_untracked(ws, name, wanted)
    return findings


def require_answered(findings: Sequence[Finding]) -> None:
    """Unanswered when some of them are failed: what is there may run and cost."""
    failed = sum(finding.kind == "failed" for finding in findings)
    if failed:
        raise Unanswered(
            f"reconcile could not look at or finish {failed} of what it compared",
            means="what is there may run and cost",
            fix="once the cause is gone: devbox reconcile",
        )


def resume_goal(ws: Workspace, box: Box) -> Box:
    """Finish the open goal of a box, whatever it is; without one, only look."""
    with working_on(ws, box) as op:
        look(op)
        goal = op.open_goal()
        return _finish(op, goal) if goal else op.box


def _finish(op: BoxOperation, goal: Intent) -> Box:
    op.intent = goal.id
    if op.box.state.is_over:
        return finalize(op)
    return _TO[goal.goal](op)


_WATCHDOG = {
    "armed": "its watchdog did not run; it was armed again",
    "silent": "its watchdog could not be asked",
}
_TO = {"running": to_running, "paused": to_paused, "terminated": to_terminated}


def _settle(ws: Workspace, box: Box, seen: Intent, silent: dict[str, str]) -> list[Finding]:
    """What was done about a goal that was `seen` open; nothing when another process has finished
    it since."""
    if box.provider in silent:
        return [_finding("failed", box, f"{seen.goal}: {silent[box.provider]}")]
    try:
        with working_on(ws, box) as op:
            goal = op.open_goal()
            return [_settled(op, goal, silent)] if goal else []
    except Busy as error:
        return [_finding("busy", box, error.what)]
    except DevboxError as error:
        costs = BoxOperation(ws, box).cost_line()
        return [_finding("failed", box, f"{seen.goal}: {error.what}; {costs}")]


def _settled(op: BoxOperation, goal: Intent, silent: dict[str, str]) -> Finding:
    """A box that failed once it was made is not made once more: that is the user's to ask for."""
    try:
        find_handle(op)
        if op.box.handle and not op.box.state.is_over:
            observe(op)
    except Unavailable as error:
        if op.provider.bills:  # machines of the user's are reached one by one
            silent[op.box.provider] = error.what
        raise
    if not op.box.handle and (left := absence.unsettled(op)):
        return _not_yet(op.box, left)
    if not op.box.handle and goal.goal == "running":
        return _give_up(op, goal)
    was_made = goal.step not in ("journalled", "create")
    if goal.goal == "running" and op.box.state is BoxState.FAILED and was_made:
        op.ws.store.boxes.finish(goal.id, "failed", op.ws.clock())
        why = op.box.message or "it failed"
        return _finding("failed", op.box, f"running: {why}; {op.cost_line()}")
    _finish(op, goal)
    return _finding("finished", op.box, f"{goal.goal}: now {op.box.state}")


def _not_yet(box: Box, left: float) -> Finding:
    detail = (
        "it was asked for and no answer came, so it may still appear and cost; run devbox "
        f"reconcile again in {duration(left)}"
    )
    return _finding("busy", box, detail)


def _give_up(op: BoxOperation, goal: Intent) -> Finding:
    why = "never created"
    op.set_state(BoxState.TERMINATED, f"given up: it was {why}", message=why)
    op.ws.store.boxes.finish(goal.id, "given up", op.ws.clock())
    return _finding("given-up", op.box, "it was never created; nothing was billed")


def _finding(kind: str, box: Box, detail: str) -> Finding:
    return Finding(kind, box.name, box.provider, detail, box.id)

"""Compare what we remember with what the providers have, and make them agree.

Three kinds of difference: goals that a crash left open are finished; boxes that changed or
vanished are recorded so; resources with our tag that this computer does not know are listed,
adopted or removed. Nothing new is ever created here: a box that was asked for but does not exist
at the provider is given up, because nobody is waiting for it and nothing was billed.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Literal

import msgspec

from devbox import spec
from devbox.errors import Busy, DevboxError, Unanswered, Unavailable
from devbox.lifecycle import absence, asking, converge, verbs
from devbox.lifecycle.merge import Answer
from devbox.lifecycle.observe import apply_observation, find_lost, observe, refresh
from devbox.lifecycle.steps import Journal, box_lock, reload, set_state, with_retries
from devbox.model import UNKNOWN_PRICE, Box, BoxState
from devbox.money import exposure
from devbox.providers.base import CanAdmit, Observation
from devbox.remote import keys
from devbox.remote.config import other_homes
from devbox.state.boxes import Intent
from devbox.telemetry import rearm
from devbox.text import clean, duration
from devbox.workspace import Workspace

Strangers = Literal["list", "adopt", "remove"]


class Finding(msgspec.Struct, frozen=True):
    """One difference and what was done about it. kind: finished, given-up, busy, failed, changed,
    armed, stranger, adopted, removed."""

    kind: str
    name: str
    provider: str
    detail: str


def reconcile(
    ws: Workspace, *, provider: str | None = None, wanted: Strangers = "list"
) -> list[Finding]:
    """Settle every open goal, look at every live box, then at what else carries our tag."""
    findings = []
    silent: dict[str, str] = {}  # provider → why; one that was waited for once is not again
    for intent in ws.store.boxes.open_intents():
        box = ws.store.boxes.get(intent.box_id)
        if box and (provider is None or box.provider == provider):
            findings.append(_settle(ws, box, intent, silent))
    boxes = [box for box in ws.store.boxes.all() if provider in (None, box.provider)]
    for before, after in zip(boxes, refresh(ws, boxes), strict=True):
        if before.state is not after.state:
            detail = f"{before.state} → {after.state}"
            findings.append(Finding("changed", after.name, after.provider, detail))
        elif after.unreachable:
            detail = f"unreachable: {after.unreachable}"
            findings.append(Finding("failed", after.name, after.provider, detail))
        elif rearm.look(ws, after):
            detail = "its watchdog did not run; it was armed again"
            findings.append(Finding("armed", after.name, after.provider, detail))
    findings += [
        Finding("changed", box.name, box.provider, f"lost → {box.state}: it is there again")
        for box in find_lost(ws, provider)
    ]
    for name in [provider] if provider else providers_in_use(ws):
        if name in silent:
            findings.append(Finding("failed", "-", name, silent[name]))
        else:
            findings += _strangers(ws, name, wanted)
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


def providers_in_use(ws: Workspace) -> list[str]:
    """Where boxes of ours may be: those we have or had, and those of devbox.toml."""
    known = {box.provider for box in ws.store.boxes.all(over=True)}
    return sorted(known | {box.provider for box in ws.spec.boxes.values()})


def untracked(ws: Workspace, provider: str) -> list[Observation]:
    """What carries our tag at a provider and is no box that this computer tracks. A second one
    with the token of a tracked box is one too: it was made when an answer was lost."""
    listed_until = ws.clock() - ws.provider(provider).find_lag
    tracked = [
        box
        for box in ws.store.boxes.all(over=True)
        if box.provider == provider and (not box.state.is_over or box.updated >= listed_until)
    ]
    found = with_retries(ws, ws.provider(provider).find)
    return [
        seen
        for seen in found
        if seen.state is not BoxState.TERMINATED
        and not any(_is_it(ws, box, seen) for box in tracked if box.token == seen.token)
    ]


def _is_it(ws: Workspace, box: Box, seen: Observation) -> bool:
    """Whether what was found is that box, and not a second one of its token. Without a handle it
    is about to get one; another handle may be what it goes by now."""
    if box.handle == seen.handle or (not box.handle and not box.state.is_over):
        return True
    if box.state.is_over:
        return False
    now = with_retries(ws, lambda: ws.provider_of(box).observe(box.handle))
    return now is not None and now.handle == seen.handle


def _settle(ws: Workspace, box: Box, intent: Intent, silent: dict[str, str]) -> Finding:
    if box.provider in silent:
        detail = f"{intent.goal}: {silent[box.provider]}"
        return Finding("failed", box.name, box.provider, detail)
    looked = False
    try:
        with box_lock(ws, box.id, box.name):
            box = asking.find_handle(ws, reload(ws, box))
            journal = Journal(ws, intent.id)
            if not box.handle and (left := absence.unsettled(ws, box)):
                return _not_yet(box, left)
            if not box.handle and intent.goal == "running":
                return _give_up(ws, box, journal)
            if box.handle and not box.state.is_over:
                box = observe(ws, box)
            looked = True
            return _finish(ws, box, intent, journal)
    except Busy as error:
        return Finding("busy", box.name, box.provider, error.what)
    except DevboxError as error:
        # Machines of the user's are reached one by one, a provider is as a whole.
        if isinstance(error, Unavailable) and not looked and ws.provider_of(box).bills:
            silent[box.provider] = error.what
        costs = exposure.of(ws, reload(ws, box)).sentence
        return Finding("failed", box.name, box.provider, f"{intent.goal}: {error.what}; {costs}")


def _finish(ws: Workspace, box: Box, intent: Intent, journal: Journal) -> Finding:
    """A box that failed once it was made is not made once more: that is the user's to ask for."""
    was_made = intent.step not in ("journalled", "create")
    if intent.goal == "running" and box.state is BoxState.FAILED and was_made:
        journal.finish("failed")
        detail = f"running: {box.message or 'it failed'}; {exposure.of(ws, box).sentence}"
        return Finding("failed", box.name, box.provider, detail)
    box = verbs.finish(ws, box, intent.goal, journal)
    return Finding("finished", box.name, box.provider, f"{intent.goal}: now {box.state}")


def _not_yet(box: Box, left: float) -> Finding:
    detail = (
        "it was asked for and no answer came, so it may still appear and cost; run devbox "
        f"reconcile again in {duration(left)}"
    )
    return Finding("busy", box.name, box.provider, detail)


def _give_up(ws: Workspace, box: Box, journal: Journal) -> Finding:
    why = "never created"
    set_state(ws, box, BoxState.TERMINATED, f"given up: it was {why}", message=why)
    journal.finish("given up")
    return Finding("given-up", box.name, box.provider, "it was never created; nothing was billed")


def _strangers(ws: Workspace, provider: str, wanted: Strangers) -> list[Finding]:
    findings = []
    try:
        found = untracked(ws, provider)
    except DevboxError as error:
        return [Finding("failed", "-", provider, error.what)]
    for seen in found:
        label = clean(f"{seen.name} ({seen.handle}, {seen.stage or seen.state})", 200)
        try:
            findings.append(_stranger(ws, provider, seen, label, wanted))
        except DevboxError as error:  # one that cannot be ended or reached ends no other's turn
            findings.append(Finding("failed", label, provider, error.what))
    return findings


def _stranger(
    ws: Workspace, provider: str, seen: Observation, label: str, wanted: Strangers
) -> Finding:
    if wanted == "remove":
        with_retries(ws, lambda: ws.provider(provider).terminate(seen.handle))
        return Finding("removed", label, provider, "end requested")
    if wanted == "adopt":
        box = adopt(ws, provider, seen)
        return Finding("adopted", box.name, provider, f"now {box.state}")
    twin = next((b.name for b in ws.store.boxes.all() if b.token == seen.token), "")
    whose = f"is a second one of {twin}" if twin else "carries our tag"
    return Finding("stranger", label, provider, f"{whose}; devbox reconcile --adopt or --remove")


def adopt(ws: Workspace, provider: str, seen: Observation) -> Box:
    """Track a resource another computer made. Its box gets the tag's name, or a free one."""
    name = seen.name
    if any(not box.state.is_over for box in ws.store.boxes.named(name)):
        name = f"{name[:34]}-{uuid.uuid4().hex[:4]}"
    now = ws.clock()
    asked = ws.spec.box(name)[1] if name in ws.spec.boxes else spec.BoxSpec(provider=provider)
    box = Box(
        id=uuid.uuid4().hex[:12],
        name=name,
        provider=provider,
        token=seen.token,
        state=seen.state,
        hardware=seen.hardware,
        price=seen.price or UNKNOWN_PRICE,
        created=now,
        updated=now,
        seen=now,
        handle=seen.handle,
        workdir=asked.workdir,
        project=ws.spec.project,
        spec=spec.encode_box(asked),
        connection=ws.connection(provider),
    )
    wish: dict[str, object] = {"adopted": True}
    intent = ws.store.boxes.insert(box, "running", wish, now, alias=other_homes.free_alias)
    with box_lock(ws, box.id, box.name):
        box = apply_observation(ws, box, Answer(seen, now))
        if box.state is BoxState.RUNNING:
            there = ws.provider(provider)
            if isinstance(there, CanAdmit):
                key = keys.ensure_identity()
                with_retries(ws, lambda: there.admit(box.handle, key))
            return converge.to_running(ws, box, Journal(ws, intent))
        ws.store.boxes.finish(intent, "adopted", ws.clock())
        return box

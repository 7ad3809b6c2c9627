"""What carries our tag at a provider and is no box that this computer tracks: listed, adopted or
removed."""

from __future__ import annotations

import uuid
from typing import Literal

import msgspec

from devbox import spec
from devbox.errors import DevboxError
from devbox.lifecycle.merge import Answer
from devbox.lifecycle.observe import apply_observation
from devbox.lifecycle.operation import with_retries, working_on
from devbox.lifecycle.up import to_running
from devbox.model import UNKNOWN_PRICE, Box, BoxState, Price
from devbox.providers.abilities import CanAdmit
from devbox.providers.base import Observation
from devbox.remote import keys
from devbox.remote.config import other_homes
from devbox.state.budgets import Untracked
from devbox.text import clean
from devbox.workspace import Workspace

Strangers = Literal["list", "adopt", "remove"]


class Finding(msgspec.Struct, frozen=True):
    """One difference and what was done about it. kind: finished, given-up, busy, failed, changed,
    armed, silent, stranger, adopted, removed. box_id: '' for what is not tracked."""

    kind: str
    name: str
    provider: str
    detail: str
    box_id: str = ""


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


def settle_untracked(ws: Workspace, provider: str, wanted: Strangers) -> list[Finding]:
    findings = []
    try:
        found = untracked(ws, provider)
    except DevboxError as error:
        return [Finding("failed", "-", provider, error.what)]
    _remember(ws, provider, found)
    for seen in found:
        label = clean(f"{seen.name} ({seen.handle}, {seen.stage or seen.state})", 200)
        try:
            findings.append(_stranger(ws, provider, seen, label, wanted))
        except DevboxError as error:  # one that cannot be ended or reached ends no other's turn
            findings.append(Finding("failed", label, provider, error.what))
    return findings


def _remember(ws: Workspace, provider: str, found: list[Observation]) -> None:
    """What is billed counts in the user's budgets."""
    now = ws.clock()
    billed = [seen for seen in found if seen.billed]
    priced = _offered(ws, provider) if any(seen.price is None for seen in billed) else {}
    ws.store.budgets.found(
        provider,
        [
            Untracked(
                *(provider, seen.handle, clean(seen.name, 60), clean(seen.hardware, 60)),
                seen.price or priced.get(seen.hardware, UNKNOWN_PRICE),
                now if seen.billed_since is None else min(seen.billed_since, now),
                now,
                seen.deadline,
            )
            for seen in billed
        ],
        now,
    )


def _offered(ws: Workspace, provider: str) -> dict[str, Price]:
    """Hardware → its price, where the provider tells."""
    try:
        offers = ws.provider(provider).offers()
    except DevboxError:
        return {}
    return {offer.hardware.name: offer.price for offer in offers}


def _stranger(
    ws: Workspace, provider: str, seen: Observation, label: str, wanted: Strangers
) -> Finding:
    if wanted == "remove":
        with_retries(ws, lambda: ws.provider(provider).terminate(seen.handle))
        return Finding("removed", label, provider, "end requested")
    if wanted == "adopt":
        box = adopt(ws, provider, seen)
        ws.store.budgets.tracked(provider, seen.handle)
        return Finding("adopted", box.name, provider, f"now {box.state}")
    twin = next((b.name for b in ws.store.boxes.all() if b.token == seen.token), "")
    whose = f"is a second one of {twin}" if twin else "carries our tag"
    ws.store.events.add("", "orphan", f"{label} at {provider} {whose} and may cost", ws.clock())
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
        workdir=asked.workdir or ws.provider(provider).workdir,
        project=ws.spec.project,
        spec=spec.encode_box(asked),
        connection=ws.connection(provider),
    )
    wish: dict[str, object] = {"adopted": True}
    intent = ws.store.boxes.insert(box, "running", wish, now, alias=other_homes.free_alias)
    with working_on(ws, box, intent) as op:
        apply_observation(op, Answer(seen, now))
        if op.box.state is not BoxState.RUNNING:
            return op.finish("adopted")
        there = op.provider
        if isinstance(there, CanAdmit):
            key = keys.ensure_identity()
            op.retried(lambda: there.admit(op.box.handle, key))
        return to_running(op)

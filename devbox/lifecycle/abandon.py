"""Giving up on a box whose provider, machine or account will never answer again."""

from __future__ import annotations

import msgspec

from devbox.errors import DevboxError, Gone, ProviderError
from devbox.lifecycle import absence, converge
from devbox.lifecycle.billing import close
from devbox.lifecycle.steps import Journal, apply, box_lock, reload
from devbox.model import Box, BoxState
from devbox.state.boxes import Change, Record
from devbox.text import clean, dollars, duration
from devbox.workspace import Workspace


def forget(ws: Workspace, box: Box) -> Box:
    """Ask once more for the box's end; when that fails, whatever the reason, drop it: it is lost,
    its name is free, and nothing here retries its end. What bills by a clock of its own is counted
    until now, a machine of the user's until it last answered."""
    with box_lock(ws, box.id, box.name):
        box = reload(ws, box)
        if box.state.is_over:
            return box
        journal = Journal(ws, ws.store.boxes.begin(box.id, "terminated", {}, ws.clock()))
        try:
            _ask(ws, box)
            return converge.to_terminated(ws, box, journal)
        except DevboxError as error:
            return _give_up(ws, reload(ws, box), error, journal)


def warnings(ws: Workspace, box: Box) -> list[str]:
    """What giving up may leave behind, in lines for the question before it."""
    if not _bills(ws, box):
        return [
            f"{box.name}: when its end cannot be confirmed, whatever runs on its machine continues "
            "there, and devbox no longer tries to end it"
        ]
    rate = dollars(box.price.micro_per_hour, per_hour=True)
    return [
        f"{box.name}: when {box.provider} does not take its end, it may continue there AND COST "
        f"{rate}, unseen: devbox stops counting it and no longer tries to end it",
        f"it keeps devbox's tag: devbox reconcile --provider {box.provider} finds it again when "
        f"{box.provider} answers",
    ]


def _ask(ws: Workspace, box: Box) -> None:
    provider = ws.provider_of(box)
    absence.check_before_end(ws, box)
    handles = [box.handle] if box.handle else []
    if box.unanswered is not None or (not handles and ws.store.boxes.was_asked_for(box.id)):
        handles += [seen.handle for seen in absence.find(ws, box) if seen.handle != box.handle]
    for handle in handles:
        try:
            provider.terminate(handle)
        except Gone:
            continue  # which is what was wanted
    left = absence.unsettled(ws, box)
    if left and not handles:
        raise ProviderError(
            f"it was asked for and no answer came: it may still appear for {duration(left)}"
        )


def _give_up(ws: Workspace, box: Box, error: DevboxError, journal: Journal) -> Box:
    now, bills = ws.clock(), _bills(ws, box)
    message = f"given up, its end is not confirmed: {clean(error.what, 200)}"

    def give_up(record: Record) -> Change:
        lost = msgspec.structs.replace(
            record.box,
            state=BoxState.LOST,
            endpoint=None,
            stage="",
            message=message,
            updated=now,
            given_up=True,
        )
        return Change(lost, close(record.current, now if bills else record.box.seen), message)

    _, lost = apply(ws, box, give_up)
    for line in warnings(ws, box) if bills else ():
        ws.narrate(line)
    left = ws.provider_of(box).forget(box.handle) if box.handle and not bills else ""
    if left:
        ws.narrate(f"{box.name}: {left}")
    return converge.finalize(ws, lost, journal)


def _bills(ws: Workspace, box: Box) -> bool:
    """A provider that cannot even be asked counts as one that bills."""
    try:
        return ws.provider_of(box).bills
    except DevboxError:
        return True

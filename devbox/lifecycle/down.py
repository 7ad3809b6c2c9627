"""`down`: saving → ask the provider for the end → observe until it is gone → out of ssh. And giving
up on a box whose provider, machine or account will never answer again."""

from __future__ import annotations

from contextlib import suppress

import msgspec

from devbox.errors import DevboxError, Gone, ProviderError
from devbox.lifecycle import absence, login
from devbox.lifecycle.asking import end_twins, find_handle, look, seek
from devbox.lifecycle.billing import close
from devbox.lifecycle.merge import Answer
from devbox.lifecycle.observe import apply_observation
from devbox.lifecycle.operation import BoxOperation, working_on
from devbox.lifecycle.saving import save_or_raise
from devbox.lifecycle.settling import until_stopped
from devbox.model import Box, BoxState
from devbox.state.boxes import Change, Record
from devbox.text import clean, dollars, duration
from devbox.workspace import Workspace


def down(ws: Workspace, box: Box, *, save: bool = True, fetch_ignored: bool = False) -> Box:
    """End a box permanently; `save` and `fetch_ignored` as in `pause`. Until the provider confirms,
    the box shows as stopping and costs."""
    with working_on(ws, box) as op:
        if op.box.state.is_over:
            look(op)
        if op.box.state.is_over:
            return op.box
        with op.waiting("being looked at"):
            absence.check_before_end(op)
        if save:
            with suppress(DevboxError):  # that it cannot be asked is for the end itself to find
                look(op)
        save = save and op.box.state is BoxState.RUNNING
        op.plan(*(("save",) if save else ()), "end", "confirm")
        if save:
            save_or_raise(op, "down {}", ignored=fetch_ignored)
        op.begin("terminated")
        return to_terminated(op)


def to_terminated(op: BoxOperation) -> Box:
    """End the box at its provider and wait until it is gone."""
    op.set_state(BoxState.STOPPING)
    provider = op.provider
    find_handle(op)
    if not op.box.handle:
        op.step("seek", lambda: seek(op))
    if op.box.handle:
        with op.costing(), op.waiting("being ended"):
            op.call("terminate", lambda: provider.terminate(op.box.handle))
        if op.box.unanswered is not None or provider.may_double:
            op.step("twins", lambda: end_twins(op))
        op.step("confirm", lambda: until_stopped(op, lambda box: box.state.is_over))
    else:
        apply_observation(op, Answer(None, op.ws.clock()))
    return finalize(op)


def finalize(op: BoxOperation) -> Box:
    """The last step for a box that is over: nothing of it stays in ssh."""
    op.step("forget", lambda: login.forget(op))
    login.host_key_file(op.box).unlink(missing_ok=True)
    login.login_file(op.box).unlink(missing_ok=True)
    return op.finish(op.box.state)


def forget(ws: Workspace, box: Box) -> Box:
    """Ask once more for the box's end; when that fails, whatever the reason, drop it: it is lost,
    its name is free, and nothing here retries its end. What bills by a clock of its own is counted
    until now, a machine of the user's until it last answered."""
    with working_on(ws, box) as op:
        if op.box.state.is_over:
            return op.box
        op.begin("terminated")
        try:
            _ask_for_end(op)
            return to_terminated(op)
        except DevboxError as error:
            op.reload()
            return _give_up(op, error)


def warnings(ws: Workspace, box: Box) -> list[str]:
    """What giving up may leave behind, in lines for the question before it."""
    if not _bills(BoxOperation(ws, box)):
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


def _ask_for_end(op: BoxOperation) -> None:
    absence.check_before_end(op)
    box = op.box
    handles = [box.handle] if box.handle else []
    if box.unanswered is not None or (not handles and op.ws.store.boxes.was_asked_for(box.id)):
        handles += [seen.handle for seen in absence.find(op) if seen.handle != box.handle]
    for handle in handles:
        try:
            op.provider.terminate(handle)
        except Gone:
            continue  # which is what was wanted
    left = absence.unsettled(op)
    if left and not handles:
        raise ProviderError(
            f"it was asked for and no answer came: it may still appear for {duration(left)}"
        )


def _give_up(op: BoxOperation, error: DevboxError) -> Box:
    now, bills = op.ws.clock(), _bills(op)
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

    op.apply(give_up)
    for line in warnings(op.ws, op.box) if bills else ():
        op.ws.narrate(line)
    left = op.provider.forget(op.box.handle) if op.box.handle and not bills else ""
    if left:
        op.narrate(left)
    return finalize(op)


def _bills(op: BoxOperation) -> bool:
    """A provider that cannot even be asked counts as one that bills."""
    try:
        return op.provider.bills
    except DevboxError:
        return True

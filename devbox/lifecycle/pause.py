"""`pause`: saving → ask the provider to pause → observe until it did → out of ssh."""

from __future__ import annotations

from devbox.errors import Conflict, Gone, NotFound, ProviderError
from devbox.lifecycle.asking import look
from devbox.lifecycle.login import forget
from devbox.lifecycle.operation import BoxOperation, working_on
from devbox.lifecycle.saving import save_or_raise
from devbox.lifecycle.settling import until_stopped
from devbox.model import Box, BoxState
from devbox.providers.abilities import CanPause
from devbox.workspace import Workspace


def pause(ws: Workspace, box: Box, *, save: bool = True, fetch_ignored: bool = False) -> Box:
    """Stop paying and keep what the provider keeps (`pause_keeps`); `save` first fetches what the
    sync rules name, and where the disk is not kept all that is synced, with `fetch_ignored` also
    what ignore files leave out. Ask before with `losses`."""
    with working_on(ws, box) as op:
        look(op)
        refuse_over(op.box)
        if op.box.state is BoxState.PAUSED:
            return op.box
        if not op.box.handle:
            raise Conflict(
                f"{box.name} has not been made yet, as far as is known",
                means=op.cost_line(),
                fix=f"devbox up {box.name}, or end it with: devbox down {box.name}",
            )
        require_can_pause(op)
        op.plan(*(("save",) if save else ()), "pause", "confirm")
        if save:
            save_or_raise(op, "pause {}", ignored=fetch_ignored)
        op.begin("paused")
        return to_paused(op)


def to_paused(op: BoxOperation) -> Box:
    """Ask the provider to pause and wait until it says so. Until then the box costs."""
    provider = require_can_pause(op)
    if op.box.state not in (BoxState.PAUSED, BoxState.PAUSING):
        op.set_state(BoxState.PAUSING)
    op.ws.on_stage("pause")
    try:
        with op.costing(), op.waiting("being paused"):
            handle = provider.pause_by(op.call, op.box.handle)
        op.set_state(BoxState.PAUSING, handle=handle)
    except Gone:
        op.narrate("the provider no longer knows it")
    op.step("confirm", lambda: until_stopped(op, lambda box: box.state is not BoxState.PAUSING))
    op.step("forget", lambda: forget(op))
    return op.finish(op.box.state)


def withdraw(op: BoxOperation) -> bool:
    """Take a box back that waits for a machine and that nobody waits for any more, so that it
    cannot start, and cost, later: what Modal's own client does too. False for any other box. What
    it was resumed from is kept."""
    box = op.reload()
    if not (op.provider.queues and box.handle and box.state is BoxState.PROVISIONING):
        return False
    op.narrate("nobody waits for its machine any more: taking it back from the queue")
    op.begin("paused", withdrawn=True)
    return not to_paused(op).state.is_over


def require_can_pause(op: BoxOperation) -> CanPause:
    """The box's provider. ProviderError when it can never pause this box."""
    provider = op.provider
    if not isinstance(provider, CanPause):
        raise ProviderError(
            f"boxes of provider {op.box.provider} cannot pause",
            means=f"{op.box.name} keeps running and costing",
            fix=f"end it with: devbox down {op.box.name}",
        )
    if op.box.handle:
        provider.check_pause(op.box.handle)
    return provider


def refuse_over(box: Box) -> None:
    if box.state.is_over:
        raise NotFound(
            f"{box.name} is {box.state}",
            means="it costs nothing",
            fix=f"make a new one with: devbox up {box.name}",
        )

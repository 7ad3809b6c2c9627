"""Changes to a box that runs: its app started again, its image rebuilt, other hardware, a successor
past its provider's longest life. Each ends with the box reachable again, like `up`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from devbox import spec
from devbox.errors import Conflict, DevboxError, ProviderError
from devbox.lifecycle.asking import ask_for, look, request
from devbox.lifecycle.observe import refusable, standing
from devbox.lifecycle.operation import BoxOperation, working_on
from devbox.lifecycle.pause import require_can_pause
from devbox.lifecycle.saving import save_or_raise
from devbox.lifecycle.up import stages, to_running
from devbox.model import Box, BoxState
from devbox.money import limits
from devbox.money.fit import best
from devbox.providers.abilities import CanPause, CanRenew, CanResize, CanRestart
from devbox.text import dollars
from devbox.workspace import Workspace


def restart(
    ws: Workspace,
    box: Box,
    *,
    factory: bool = False,
    save: bool = True,
    fetch_ignored: bool = False,
) -> Box:
    """Start the box's app again; with `factory` build its image again. It keeps what a pause
    keeps; `save` and `fetch_ignored` as in `verbs.pause`."""
    provider = ws.provider_of(box)
    if not isinstance(provider, CanRestart):
        raise _cannot(box, "restart", _again(ws, box))
    verb = "restart {} --factory" if factory else "restart {}"

    def ask(op: BoxOperation) -> None:
        op.call("restart", lambda: provider.restart(op.box.handle, factory=factory))

    return _change(ws, box, verb, ask, _Fetch(save, fetch_ignored))


def resize(
    ws: Workspace, box: Box, hardware: str, *, save: bool = True, fetch_ignored: bool = False
) -> Box:
    """Move a box to other hardware of its provider, at that hardware's price from then on."""
    require_can_resize(ws, box)
    provider = ws.provider_of(box)
    assert isinstance(provider, CanResize)
    wanted = msgspec.structs.replace(spec.decode_box(box.spec), hardware=hardware)
    try:
        offer = best(provider, wanted)
        limits.check(ws, box, wanted, offer.price)
    except DevboxError as error:
        error.means = standing(BoxOperation(ws, box))
        raise
    price = dollars(offer.price.micro_per_hour, per_hour=True)
    ws.narrate(f"{box.name}: to {hardware} at {price} ({offer.price.source})")

    def ask(op: BoxOperation) -> None:
        # The wish is part of the box from here on, also when its provider is slow to show it.
        op.amend(spec=spec.encode_box(wanted))
        op.call("resize", lambda: provider.resize(op.box.handle, hardware))

    def undo(op: BoxOperation) -> None:
        op.amend(spec=box.spec)

    return _change(ws, box, f"resize {{}} {hardware}", ask, _Fetch(save, fetch_ignored), undo)


def require_can_resize(ws: Workspace, box: Box) -> None:
    """ProviderError where the boxes of a provider keep their hardware."""
    provider = ws.provider_of(box)
    if isinstance(provider, CanResize):
        return
    takes = isinstance(provider, CanPause) and "hardware" in provider.resume_takes
    edit = "change hardware in devbox.toml, then: "
    fix = f"{edit}devbox pause {box.name} && devbox up {box.name}" if takes else ""
    raise _cannot(box, "change hardware", fix)


def renew(ws: Workspace, box: Box, *, save: bool = True, fetch_ignored: bool = False) -> Box:
    """Replace a box by a successor with the same files; what runs on the box ends."""
    provider = ws.provider_of(box)
    if not isinstance(provider, CanRenew):
        raise _cannot(box, "continue in a successor", _again(ws, box))
    limits.check(ws, box, spec.decode_box(box.spec), box.price)

    def hand_over(op: BoxOperation) -> None:
        asked, handle = request(op), op.box.handle
        ask_for(op, lambda: provider.renew(asked, handle, op.call), BoxState.STARTING)

    return _change(ws, box, "renew {}", hand_over, _Fetch(save, fetch_ignored))


class _Fetch(NamedTuple):
    """What is fetched first: what the sync rules name, and what they leave out."""

    save: bool
    ignored: bool


def _change(
    ws: Workspace,
    box: Box,
    verb: str,
    ask: Callable[[BoxOperation], object],
    fetch: _Fetch,
    undo: Callable[[BoxOperation], object] = lambda _: None,
) -> Box:
    """verb: what the user typed, with {} where the box's name goes. ask: makes the provider's
    calls, each as a step that is journalled and retried alone. undo: takes back what `ask`
    recorded here, for a change that is refused."""
    with working_on(ws, box) as op:
        look(op)
        if op.box.state is not BoxState.RUNNING:
            raise Conflict(
                f"{op.box.name} is {op.box.state}, not running",
                means="nothing was changed",
                fix=f"devbox up {op.box.name}",
            )
        change = verb.split(maxsplit=1)[0]
        op.plan(*(("save",) if fetch.save else ()), *stages(op, change))
        if fetch.save:
            save_or_raise(op, verb, ignored=fetch.ignored)
        op.begin("running", change=change)
        ws.on_stage(change)
        with refusable(op, lambda: undo(op)), op.waiting(f"being changed ({change})"):
            ask(op)
        op.reload()
        return to_running(op)


def _again(ws: Workspace, box: Box) -> str:
    """How a box that can pause starts again with what a pause keeps; '' for one that cannot."""
    try:
        require_can_pause(BoxOperation(ws, box))
    except ProviderError:
        return ""
    return f"start it again with: devbox pause {box.name} && devbox resume {box.name}"


def _cannot(box: Box, what: str, fix: str) -> ProviderError:
    return ProviderError(
        f"boxes of provider {box.provider} cannot {what}",
        means=f"{box.name} continues as it is",
        fix=fix or f"end it and make a new one: devbox down {box.name} && devbox up {box.name}",
    )

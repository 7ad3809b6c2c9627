"""Asking a provider to make something, so that what it makes is found again though its answer is
lost: each try is on record before it is made, and what carries the box's token is sought."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import msgspec

from devbox import secrets, spec
from devbox.errors import DevboxError, ProviderError, Unavailable, had_no_effect
from devbox.lifecycle import absence, history
from devbox.lifecycle.login import host_key
from devbox.lifecycle.merge import Answer, is_only_lost
from devbox.lifecycle.observe import apply_observation, observe, refusable
from devbox.lifecycle.operation import BoxOperation
from devbox.model import Box, BoxState
from devbox.providers.abilities import CanPause
from devbox.providers.base import Provider, Request
from devbox.remote import keys
from devbox.spec import Seconds
from devbox.text import clean, duration
from devbox.workspace import Workspace

# Seconds between looks for what a create without an answer may have made, and after an end.
_SEEK, _AGAIN = 5.0, 2.0
_PATIENCE = 5 * 60.0


def place(op: BoxOperation) -> None:
    """Record who is about to make the box. One that may exist already is asked for where it was
    asked for before, and nowhere else."""
    if op.box.handle or op.box.unanswered is not None:
        op.retried(lambda: absence.check_place(op))
    known = op.box.connection or op.ws.connection(op.box.provider)
    who = op.retried(op.provider.identity)
    op.amend(connection=msgspec.structs.replace(known, identity=who))


def create(op: BoxOperation) -> bool:
    """Create the box unless it is made, or join what another computer made under this name; whether
    it was observed after that. One that was refused shows as failed, with the reason, until `up`
    succeeds or `reconcile` has seen that there is nothing."""
    if op.box.handle and op.box.state is not BoxState.FAILED and not _half_made(op):
        return False
    place(op)
    asked = request(op)
    try:
        with op.waiting("being asked for"):
            op.call(
                "create",
                lambda: ask_for(op, lambda: op.provider.create(asked), BoxState.PROVISIONING),
            )
    except DevboxError as error:
        if not isinstance(error, Unavailable):
            op.set_state(BoxState.FAILED, message=clean(error.what, 300))
        error.means = "; ".join(filter(None, (op.cost_line(), error.means)))
        raise
    observe(op)
    joined = op.box.token != asked.token
    if joined:
        op.narrate("joined the box that another computer made")
    if joined or op.box.unanswered is not None:
        with suppress(DevboxError):  # why: the box is up, and reconcile asks again
            history.account(op, asked.token)
    return True


def resume(op: BoxOperation) -> bool:
    """Resume the box when it is paused; whether it was."""
    provider = op.provider
    if op.box.state is not BoxState.PAUSED or not isinstance(provider, CanPause):
        return False
    with refusable(op), op.waiting("being resumed"):
        asked, handle = request(op), op.box.handle

        def ask() -> str:
            if op.box.unanswered_tries > 1:  # what an earlier try started may have stopped again
                observe(op)
            return provider.resume(asked, handle)

        op.call("resume", lambda: ask_for(op, ask, BoxState.STARTING))
    return True


def ask_for(op: BoxOperation, ask: Callable[[], str], state: BoxState) -> None:
    """Try once to have the provider make something for the box; it is then in `state`, with the
    handle that `ask` returns. The try is on record before it is made: one that is never answered
    may take effect later."""
    latest = op.reload()
    before, tries = latest.unanswered, latest.unanswered_tries
    _note(op, op.ws.clock(), tries + 1)
    try:
        handle = ask()
    except BaseException as error:
        if isinstance(error, DevboxError) and had_no_effect(error):
            _note(op, before, tries)
        else:  # a try takes effect by its end, and may have been long (an image is built first)
            _note(op, op.ws.clock(), tries + 1)
        raise
    # a new life: what the last one began and was to end at is over
    fields = {"handle": handle, "unanswered": before, "unanswered_tries": tries}
    if state is BoxState.STARTING:
        fields |= {"started": None, "deadline": None}
    op.set_state(state, "", **fields)


def request(op: BoxOperation) -> Request:
    """What a provider needs to make this box; its secrets are read now. StateDamaged when a
    part of its spec cannot be read: nothing is started by a guess."""
    box = op.box
    spec.require_whole(box)
    wanted = msgspec.structs.replace(
        with_image(op.provider, op.spec, box.hardware),
        workdir=box.workdir,
        start_timeout=Seconds(op.start_timeout),
    )
    return Request(
        name=box.slug or box.name,
        token=box.token,
        spec=wanted,
        hardware=box.hardware,
        public_key=keys.ensure_identity(),
        host_key=host_key(box),
        secrets={name: secrets.resolve(reference) for name, reference in wanted.secrets.items()},
        root=box.root or str(op.ws.spec.root),
        asking=lambda: _asking_now(op),
    )


def with_image(provider: Provider, wanted: spec.BoxSpec, hardware: str) -> spec.BoxSpec:
    """The spec with its image, where it leaves that to its provider."""
    chosen = wanted.image or provider.default_image(hardware)
    return msgspec.structs.replace(wanted, image=chosen)


def observe_now(ws: Workspace, box: Box) -> Box:
    """The box with its provider's present answer. One that was lost may be there again."""
    return look(BoxOperation(ws, box))


def look(op: BoxOperation) -> Box:
    """`observe_now`, so that no verb acts on an old state."""
    if op.box.state.is_over and not is_only_lost(op.box):
        return op.box
    if not op.box.handle:
        return find_handle(op)
    with op.waiting("being looked at"):
        return observe(op)


def find_handle(op: BoxOperation) -> Box:
    """A box whose create we never heard back from: look for our tag at the provider."""
    if op.box.handle or not op.ws.store.boxes.was_asked_for(op.box.id):
        return op.box
    with op.waiting("being looked for"):
        asked = op.ws.clock()
        found = absence.find(op)
    if len(found) == 1 and op.box.unanswered_tries == 1:
        _note(op, None, 0)  # one try, and what it made is here: nothing more can appear
    if not found:
        return op.box
    best = next((seen for seen in found if not seen.state.is_over), found[0])
    return apply_observation(op, Answer(best, asked))


def seek(op: BoxOperation) -> None:
    """Look for what a create without an answer may have made, until it shows itself or no longer
    can. Until then the box is stopping, and whoever is cut off here finishes that later."""
    told = False
    while not op.box.handle and (left := absence.unsettled(op)):
        if not told:
            op.narrate(
                "it was asked for and no answer came, so it may still appear and "
                f"cost; looking for it for {duration(left)} more, to end it"
            )
            told = True
        op.ws.sleep(min(left, _SEEK))
        find_handle(op)


def end_twins(op: BoxOperation) -> None:
    """The box may have been made more than once, as an answer to a create was lost: end every
    other resource that carries its token, and wait until no more can appear."""
    ws, provider, began, told = op.ws, op.provider, op.ws.clock(), set[str]()
    # one that was adopted is a box of its own by now
    others = {op.box.handle, *(each.handle for each in ws.store.boxes.all())}
    while True:
        found = op.retried(lambda: provider.find(op.box.token))
        twins = [
            seen
            for seen in found
            if seen.handle not in others and seen.state is not BoxState.TERMINATED
        ]
        for seen in twins:
            op.retried(lambda: provider.terminate(seen.handle))  # noqa: B023
            if seen.handle not in told:
                told.add(seen.handle)
                line = f"a second one of it, {clean(seen.handle, 100)}, is ended too"
                ws.store.events.add(op.box.id, "state", line, ws.clock())
                op.narrate(f"{line}: the answer to a create was lost")
        going = [seen.handle for seen in twins if seen.billed or seen.state is not BoxState.FAILED]
        left = absence.unsettled(op)
        if not going and not left:
            if told or op.box.unanswered is not None:
                history.account(op)
            return
        if going and ws.clock() - began > _PATIENCE:
            raise ProviderError(
                f"{op.box.name}: {', '.join(clean(each, 60) for each in going)} still runs after "
                f"{_PATIENCE / 60:.0f} minutes",
                means="it is a second one of this box, and it may cost",
                fix="devbox reconcile tries again",
            )
        ws.sleep(_AGAIN if going else min(left, _SEEK))


def _asking_now(op: BoxOperation) -> None:
    """A try that is on record reaches its provider only now: what it makes may appear from now on,
    also when this process is killed before the answer."""
    latest = op.reload()
    if latest.unanswered is not None:
        _note(op, op.ws.clock(), latest.unanswered_tries)


def _half_made(op: BoxOperation) -> bool:
    """Its create was begun and not seen to end: it may exist with steps missing, which create,
    called again, adds."""
    goal = op.open_goal()
    return goal is not None and (goal.goal, goal.step) == ("running", "create")


def _note(op: BoxOperation, unanswered: float | None, tries: int) -> None:
    op.amend(unanswered=unanswered, unanswered_tries=tries)

"""Asking a provider to make something, so that what it makes is found again though its answer is
lost: each try is on record before it is made, and what carries the box's token is sought."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from devbox.errors import DevboxError, ProviderError, had_no_effect
from devbox.lifecycle import absence
from devbox.lifecycle.merge import Answer
from devbox.lifecycle.observe import apply_observation
from devbox.lifecycle.steps import amend, reload, set_state, with_retries
from devbox.lifecycle.waiting import waiting
from devbox.model import Box, BoxState
from devbox.text import clean, duration
from devbox.workspace import Workspace

# Seconds between looks for what a create without an answer may have made, and after an end.
_SEEK, _AGAIN = 5.0, 2.0
_PATIENCE = 5 * 60.0


def placed(ws: Workspace, box: Box) -> Box:
    """The box with who is about to make it. One that may exist already is asked for where it was
    asked for before, and nowhere else."""
    if box.handle or box.unanswered is not None:
        with_retries(ws, lambda: absence.check_place(ws, box))
    known = box.connection or ws.connection(box.provider)
    who = with_retries(ws, ws.provider_of(box).identity)
    return amend(ws, box, connection=msgspec.structs.replace(known, identity=who))


def ask_for(ws: Workspace, box: Box, ask: Callable[[], str], state: BoxState) -> Box:
    """Try once to have the provider make something for the box; the box with the handle that `ask`
    returns, in `state`. The try is on record before it is made: one that is never answered may
    take effect later."""
    latest = reload(ws, box)
    before, tries = latest.unanswered, latest.unanswered_tries
    _note(ws, box, ws.clock(), tries + 1)
    try:
        handle = ask()
    except BaseException as error:
        if isinstance(error, DevboxError) and had_no_effect(error):
            _note(ws, box, before, tries)
        else:  # a try takes effect by its end, and may have been long (an image is built first)
            _note(ws, box, ws.clock(), tries + 1)
        raise
    # a new life: what the last one began and was to end at is over
    fresh: dict[str, Any] = (
        {"started": None, "deadline": None} if state is BoxState.STARTING else {}
    )
    return set_state(
        ws, box, state, handle=handle, unanswered=before, unanswered_tries=tries, **fresh
    )


def asking_now(ws: Workspace, box: Box) -> None:
    """A try that is on record reaches its provider only now: what it makes may appear from now on,
    also when this process is killed before the answer."""
    latest = reload(ws, box)
    if latest.unanswered is not None:
        _note(ws, box, ws.clock(), latest.unanswered_tries)


def _note(ws: Workspace, box: Box, unanswered: float | None, tries: int) -> None:
    amend(ws, box, unanswered=unanswered, unanswered_tries=tries)


def find_handle(ws: Workspace, box: Box) -> Box:
    """A box whose create we never heard back from: look for our tag at the provider."""
    if box.handle or not ws.store.boxes.was_asked_for(box.id):
        return box
    with waiting(ws, box, "being looked for"):
        asked = ws.clock()
        found = absence.find(ws, box)
    if len(found) == 1 and box.unanswered_tries == 1:
        _note(ws, box, None, 0)  # one try, and what it made is here: nothing more can appear
    if not found:
        return box
    best = next((seen for seen in found if not seen.state.is_over), found[0])
    return apply_observation(ws, box, Answer(best, asked))


def seek(ws: Workspace, box: Box) -> Box:
    """Look for what a create without an answer may have made, until it shows itself or no longer
    can. Until then the box is stopping, and whoever is cut off here finishes that later."""
    told = False
    while not box.handle and (left := absence.unsettled(ws, box)):
        if not told:
            ws.narrate(
                f"{box.name}: it was asked for and no answer came, so it may still appear and "
                f"cost; looking for it for {duration(left)} more, to end it"
            )
            told = True
        ws.sleep(min(left, _SEEK))
        box = find_handle(ws, box)
    return box


def end_twins(ws: Workspace, box: Box) -> None:
    """The box may have been made more than once, as an answer to a create was lost: end every
    other resource that carries its token, and wait until no more can appear."""
    provider, began, told = ws.provider_of(box), ws.clock(), set[str]()
    # one that was adopted is a box of its own by now
    others = {box.handle, *(each.handle for each in ws.store.boxes.all())}
    while True:
        found = with_retries(ws, lambda: provider.find(box.token))
        twins = [
            seen
            for seen in found
            if seen.handle not in others and seen.state is not BoxState.TERMINATED
        ]
        for seen in twins:
            with_retries(ws, lambda: provider.terminate(seen.handle))  # noqa: B023
            if seen.handle not in told:
                told.add(seen.handle)
                line = f"a second one of it, {clean(seen.handle, 100)}, is ended too"
                ws.store.events.add(box.id, "state", line, ws.clock())
                ws.narrate(f"{box.name}: {line}: the answer to a create was lost")
        going = [seen.handle for seen in twins if seen.billed or seen.state is not BoxState.FAILED]
        left = absence.unsettled(ws, box)
        if not going and not left:
            return
        if going and ws.clock() - began > _PATIENCE:
            raise ProviderError(
                f"{box.name}: {', '.join(clean(each, 60) for each in going)} still runs after "
                f"{_PATIENCE / 60:.0f} minutes",
                means="it is a second one of this box, and it may cost",
                fix="devbox reconcile tries again",
            )
        ws.sleep(_AGAIN if going else min(left, _SEEK))

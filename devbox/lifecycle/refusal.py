"""What an error about a box says of it: what it is, and what it costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from devbox.errors import DevboxError, Gone, had_no_effect
from devbox.lifecycle import absence
from devbox.lifecycle.observe import apply_observation
from devbox.lifecycle.steps import Journal, reload
from devbox.model import Box, BoxState
from devbox.money import exposure
from devbox.workspace import Workspace


@contextmanager
def refusable(
    ws: Workspace, box: Box, journal: Journal, undo: Callable[[], object] = lambda: None
) -> Iterator[None]:
    """A change of a box that exists. When it is refused, `undo` runs and the goal is closed, as
    far as nothing is left to do; whatever went wrong, the error says what the box is and costs."""
    try:
        yield
    except DevboxError as error:
        if had_no_effect(error):
            undo()
            _look_again(ws, box)
            if reload(ws, box).state.is_settled:
                journal.finish("refused")
        error.means = standing(ws, box)
        raise


def standing(ws: Workspace, box: Box) -> str:
    """What the box is and costs, for an error about a change of it."""
    box = reload(ws, box)
    found = exposure.of(ws, box)
    if box.state is BoxState.RUNNING and found.now:
        return f"{box.name} still runs on {box.hardware} and costs {found.rate}"
    return f"{box.name} is {box.state}: {found.sentence}"


def _look_again(ws: Workspace, box: Box) -> None:
    """Its provider's word after a refusal, which may have come half-way; none is no reason to
    hide the refusal."""
    with suppress(DevboxError):
        now = reload(ws, box)
        apply_observation(ws, now, absence.observe(ws, now))


@contextmanager
def costing(ws: Workspace, box: Box) -> Iterator[None]:
    """A stop that is refused says first of all what that costs."""
    try:
        yield
    except Gone:
        raise
    except DevboxError as error:
        error.means = "; ".join(filter(None, (cost_line(ws, box), error.means)))
        error.fix = "; ".join(filter(None, (error.fix, "devbox reconcile tries again")))
        raise


def cost_line(ws: Workspace, box: Box) -> str:
    return exposure.of(ws, reload(ws, box)).sentence

"""Journalled steps, and the lock that says which process is at a box."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import msgspec

from devbox import paths
from devbox.errors import Busy, Locked, Unavailable
from devbox.files import locked, private_dir
from devbox.model import Box, BoxState
from devbox.remote.config import other_homes
from devbox.state.boxes import Change, Record
from devbox.workspace import Workspace

T = TypeVar("T")

# Passing faults are tried this often; waits double from the first, unless the provider names one.
_TRIES = 6
_FIRST_WAIT = 0.5
_LONGEST_WAIT = 30.0
_STARTS = (BoxState.PROVISIONING, BoxState.STARTING)


@contextmanager
def box_lock(ws: Workspace, box_id: str, name: str) -> Iterator[None]:
    """Hold the box for this process; the lock falls when the process dies. Busy when another
    devbox works on it right now."""
    folder = private_dir(paths.home() / "locks")
    with ExitStack() as held:
        try:
            held.enter_context(locked(folder / f"{box_id}.lock", timeout=0))
        except Locked as error:
            work = ws.store.boxes.open_intents(box_id)
            at = f" (process {work[-1].pid}, {work[-1].goal}, step {work[-1].step})" if work else ""
            raise Busy(
                f"another devbox is working on {name} right now{at}",
                means="nothing was changed",
                fix=f"watch it with: devbox status {name} --wait",
            ) from error
        yield


class Journal:
    """Steps of one intent. `on_step` of the workspace sees each before and after it runs."""

    def __init__(self, ws: Workspace, intent: int) -> None:
        self._ws = ws
        self.intent = intent

    def step(self, name: str, action: Callable[[], T]) -> T:
        """Journal `name`, then run `action`."""
        self._ws.store.boxes.step(self.intent, name, self._ws.clock())
        self._ws.on_step(name, "before")
        result = action()
        self._ws.on_step(name, "after")
        return result

    def call(self, name: str, action: Callable[[], T]) -> T:
        """A step that calls the provider: passing faults are retried, as the contract allows."""
        return self.step(name, lambda: with_retries(self._ws, action))

    def finish(self, outcome: str) -> None:
        self._ws.store.boxes.finish(self.intent, outcome, self._ws.clock())


def with_retries(ws: Workspace, action: Callable[[], T]) -> T:
    """Run `action`; Unavailable is tried again with growing waits, honouring Retry-After."""
    wait = _FIRST_WAIT
    for left in range(_TRIES - 1, -1, -1):
        try:
            return action()
        except Unavailable as error:
            if not left:
                raise
            pause = min(error.retry_after or wait, _LONGEST_WAIT)
            ws.narrate(f"{error.what}; trying again in {pause:.2g} s")
            ws.sleep(pause)
            wait = min(wait * 2, _LONGEST_WAIT)
    raise AssertionError("unreachable")


def reload(ws: Workspace, box: Box) -> Box:
    """The box's present row."""
    return ws.store.boxes.get(box.id) or box


def apply(ws: Workspace, box: Box, change: Callable[[Record], Change]) -> tuple[Record, Box]:
    """Change a box's record in one transaction: its record before, and the box after."""
    return ws.store.boxes.apply(box.id, change, ws.clock(), alias=other_homes.free_alias)


def amend(ws: Workspace, box: Box, **fields: Any) -> Box:
    """The box's present row, with these fields recorded."""
    return apply(ws, box, lambda now: Change(msgspec.structs.replace(now.box, **fields)))[1]


def set_state(ws: Workspace, box: Box, state: BoxState, detail: str = "", **fields: Any) -> Box:
    """Record what we have just asked for, on top of the present row. fields: others of the box.
    One that has ended meanwhile stays so, unless it was asked to start."""
    at = ws.clock()

    def change(now: Record) -> Change:
        if now.box.state.is_over and state not in _STARTS:
            return Change(now.box)
        asked = msgspec.structs.replace(now.box, state=state, updated=at, **fields)
        return Change(asked, detail=detail)

    return apply(ws, box, change)[1]

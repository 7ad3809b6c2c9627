"""Why a box that should run does not answer: its provider is asked once."""

from __future__ import annotations

import time

from devbox.errors import Conflict, DevboxError, NotFound, SshError
from devbox.lifecycle.observe import refresh
from devbox.model import Box, BoxState
from devbox.workspace import Workspace

_DAY = 20 * 3600.0  # seconds; an older time is told with its date


def why_silent(ws: Workspace, error: DevboxError) -> DevboxError:
    """The same error, or one that says what became of the box it is about: it paused itself, or
    ended. The provider is asked only of a box that we take to be running."""
    box = ws.store.boxes.get(error.box) if isinstance(error, SshError) and error.box else None
    if box is None or box.state is not BoxState.RUNNING:
        return error
    asked = ws.clock()
    try:
        (seen,) = refresh(ws, [box])
    except DevboxError:
        return error
    if seen.state is BoxState.PAUSED:
        return Conflict(
            f"{box.name} paused itself{_when(ws, box, asked)}, or was paused from another computer",
            means="it costs no compute now",
            fix=f"bring it back with: devbox resume {box.name}",
        )
    if seen.state.is_over:
        return NotFound(
            f"{box.name} ended{_when(ws, box, asked)}"
            + (f": {seen.message}" if seen.message else ""),
            fix=f"make it again with: devbox up {box.name}",
        )
    if seen.state is not BoxState.RUNNING:
        return Conflict(
            f"{box.name} is {seen.state}, not running",
            fix=f"wait for it with: devbox status {box.name} --wait",
        )
    return error


def _when(ws: Workspace, box: Box, asked: float) -> str:
    """' at 14:02', by this computer's clock, where the provider told: an end that is not that of
    our own look at `asked`. Else ''."""
    ends = [each.end for each in ws.store.ledger.of_box(box.id) if each.end is not None]
    if not ends or max(ends) >= asked:
        return ""
    form = "%H:%M" if asked - max(ends) < _DAY else "%d %b %H:%M"
    return time.strftime(f" at {form}", time.localtime(max(ends)))

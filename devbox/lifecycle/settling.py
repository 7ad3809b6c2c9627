"""Wait until a box runs, or has stopped, as its provider says."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from devbox import spec
from devbox.errors import BuildFailed, ProviderError, TimedOut
from devbox.lifecycle.build_log import BuildLog
from devbox.lifecycle.observe import observe
from devbox.lifecycle.refusal import cost_line
from devbox.lifecycle.steps import reload
from devbox.lifecycle.waiting import Wait, waiting
from devbox.model import Box, BoxState
from devbox.remote.connection import preload
from devbox.text import duration
from devbox.workspace import Workspace

# Seconds between looks at a provider while it starts or stops: soon at first, then patient.
_POLLS = (0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
STOP_TIMEOUT = 5 * 60.0


def _until(
    ws: Workspace,
    box: Box,
    done: Callable[[Box], bool],
    timeout: float,
    *,
    looked: bool = False,
    meanwhile: Callable[[], None] | None = None,
) -> Box:
    """Observe until `done`. After `timeout` seconds the box stays as it is, still costing.
    looked: `box` is its provider's answer of this moment. meanwhile: done once, in what would be
    idle waiting."""
    with waiting(ws, box, box.stage or box.state, timeout) as wait_:
        return _looking(ws, box, done, timeout, wait_, looked=looked, meanwhile=meanwhile)


def _looking(
    ws: Workspace,
    box: Box,
    done: Callable[[Box], bool],
    timeout: float,
    told: Wait,
    *,
    looked: bool,
    meanwhile: Callable[[], None] | None,
) -> Box:
    began, stage = ws.clock(), ""
    for look in itertools.count():
        if look or not looked:
            box = observe(ws, reload(ws, box))
        if done(box):
            return box
        if (box.stage or box.state) != stage:
            stage = box.stage or box.state
            ws.narrate(f"{box.name}: {stage}")
        told.now(stage, ws.store.ledger.current(box.id))
        if ws.clock() - began > timeout:
            raise TimedOut(
                f"{box.name} is still {stage} after {duration(timeout)}",
                means=cost_line(ws, box),
            )
        if meanwhile and not look:
            meanwhile()
        else:
            ws.sleep(_POLLS[min(look, len(_POLLS) - 1)])
    raise AssertionError("unreachable")


def until_running(ws: Workspace, box: Box, *, looked: bool) -> Box:
    log = BuildLog(ws.provider_of(box), ws.narrate)

    def settled(seen: Box) -> bool:
        log.look(seen)
        return seen.state.is_settled

    limit = start_timeout(ws, box)
    try:
        box = _until(ws, box, settled, limit, looked=looked, meanwhile=preload)
    except TimedOut as error:
        error.fix = (
            f"wait longer with: devbox up {box.name} --timeout {duration(2 * limit)} (or "
            f"start_timeout in devbox.toml); end it with: devbox down {box.name}"
        )
        raise
    log.finish()
    headless = spec.is_headless(box)
    if box.state is BoxState.RUNNING or (headless and box.state is BoxState.TERMINATED):
        return box  # a short command may be over by now
    if box.state is BoxState.FAILED:
        what = "its command failed" if headless and box.started else "did not start"
        raise BuildFailed(
            f"{box.name}: {what}: {box.stage or 'failed'}: {box.message}",
            means=cost_line(ws, box),
            fix=f"devbox down {box.name}; fix the cause, then: devbox up {box.name}"
            if headless
            else f"fix the cause and run: devbox up {box.name}; or: devbox down {box.name}",
        )
    raise ProviderError(
        f"{box.name} became {box.state} while starting"
        + (f": {box.message}" if box.message else ""),
        means=cost_line(ws, box),
        fix=f"devbox up {box.name}",
    )


def until_stopped(ws: Workspace, box: Box, done: Callable[[Box], bool]) -> Box:
    """A pause or an end, as its provider confirms it. One that it does not confirm is named by
    what was asked for: the provider's own word may still be that it runs."""
    try:
        return _until(ws, box, done, STOP_TIMEOUT)
    except TimedOut as error:
        box = reload(ws, box)
        shown = f": its provider shows {box.stage}" if box.stage else ""
        ends = "" if box.state is BoxState.STOPPING else f"; devbox down {box.name} ends it"
        raise TimedOut(
            f"{box.name} is still {box.state} after {duration(STOP_TIMEOUT)}{shown}",
            means=error.means,
            fix=f"devbox reconcile tries again{ends}",
        ) from error


def start_timeout(ws: Workspace, box: Box) -> float:
    return ws.start_timeout or spec.decode_box(box.spec).start_timeout

"""Workers that are lost, or ended from here: what is recorded of them."""

from __future__ import annotations

from devbox.errors import DevboxError, NotFound
from devbox.jobs import fetch, queries, status
from devbox.lifecycle.observe import refresh
from devbox.model import Box, BoxState, Run
from devbox.scale.team import Team
from devbox.workspace import Workspace

_MAY_WORK = (BoxState.RUNNING, BoxState.STARTING, BoxState.BUILDING, BoxState.PROVISIONING)


def gone(ws: Workspace, box: Box) -> str:
    """Why its provider says that a box does not work on; '' while it runs, or as long as nobody
    knows."""
    try:
        (seen,) = refresh(ws, [box])
    except NotFound:
        return "its box is no longer tracked"
    except DevboxError:
        return ""
    if seen.unreachable or seen.state in _MAY_WORK:
        return ""
    return f"its box is {seen.state}" + (f": {seen.message}" if seen.message else "")


def lose(team: Team, ws: Workspace, number: int, run: Run | None, why: str) -> None:
    """Its pieces wait for others, and what its part made of them is made again there: nobody needs
    to fetch it. That is on record first, so that no later stop of its box does."""
    if run:
        known = ws.store.runs.get(run.id) or run
        if not known.state.is_over:
            known = status.fail(known, f"its worker was lost: {why}", ws.clock())
            ws.store.runs.put(known)
        fetch.mark_fetched(ws, known)
    team.over(number, why)


def cancel(ws: Workspace, run: Run) -> Run:
    """End a part; one whose box does not answer or is gone stays as it was last known."""
    try:
        return queries.cancel(ws, run)
    except DevboxError as error:
        told = f"its part was not ended, and finishes what it holds: {error.what}"
        ws.narrate(f"{run.box_name}: {told}; try again: devbox cancel {run.batch}")
        return run


def line(error: DevboxError) -> str:
    """What happened, what it means and what to type, in one line."""
    return "; ".join(filter(None, (error.what, error.means, error.fix)))

"""Runs whose results are on their box alone, and runs that its end would cut off."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from devbox.jobs import status
from devbox.model import Box, BoxState, Run
from devbox.remote.agent_bootstrap import FOLDER
from devbox.remote.connection import connect
from devbox.workspace import Workspace

_MOST = 200  # runs of a box, the newest, that are looked at

# $1: the box half's folder  further: ids. Says which have made a file, and which still run.
_LOOK = """\
cd "$1/runs" 2>/dev/null || exit 0
shift
for id; do
    [ ! -e "../active/$id" ] || echo "running $id"
    [ -z "$(find "$id/out" -type f 2>/dev/null | head -n 1)" ] || echo "made $id"
done
"""


class Unfetched(NamedTuple):
    """made: runs with results that were never fetched. running: those that have not ended."""

    made: list[Run]
    running: list[Run]


def mark_fetched(ws: Workspace, run: Run) -> None:
    """All that this attempt made has been fetched. Not yet true of a run that continues."""
    latest = ws.store.runs.get(run.id)
    if latest is None or not run.state.is_over:
        return
    journalled: dict[str, Any] = msgspec.json.decode(latest.request)
    journalled["fetched"] = status.of(run).attempt
    request = msgspec.json.encode(journalled)
    ws.store.runs.put(msgspec.structs.replace(latest, request=request))


def look(ws: Workspace, box: Box) -> Unfetched:
    """Ask the box, if there is a run to ask about. SshError when it does not answer."""
    runs = {run.id: run for run in ws.store.runs.latest(box_id=box.id, limit=_MOST)}
    open_ = [run for run in runs.values() if not _is_fetched(run)]
    if not open_ or box.state is not BoxState.RUNNING:
        return Unfetched([], [])
    with connect(box) as connection:
        argv = ["sh", "-c", _LOOK, "sh", FOLDER, *(run.id for run in open_)]
        said = connection.run(argv).out.splitlines()
    return Unfetched(
        made=[run for run in open_ if f"made {run.id}" in said],
        running=[run for run in open_ if f"running {run.id}" in said],
    )


def _is_fetched(run: Run) -> bool:
    fetched = msgspec.json.decode(run.request).get("fetched")
    return run.state.is_over and fetched == status.of(run).attempt

"""The runs of a box as the dashboard shows them: those of its own, and the batches that it works
on with all their parts. What it needs takes a while to load, so it is imported where it is used."""

from __future__ import annotations

from contextlib import suppress

from devbox.errors import DevboxError
from devbox.jobs import queries
from devbox.model import Run
from devbox.tui.feed import RunView
from devbox.workspace import Workspace

_SHOWN = 30


def of_box(ws: Workspace, box_id: str) -> list[RunView]:
    """Newest first; a batch where its newest part on this box is."""
    views: list[RunView] = []
    told: set[str] = set()
    for run in ws.store.runs.latest(box_id=box_id, limit=_SHOWN):
        if not run.batch:
            views.append(_view(ws, run))
        elif run.batch not in told:
            told.add(run.batch)
            views += _batch(ws, run)
    return views


def refresh(ws: Workspace, runs: list[Run]) -> list[Run]:
    """As far as their boxes answer."""
    with suppress(DevboxError):
        return queries.refresh(ws, runs)
    return runs


def _batch(ws: Workspace, part: Run) -> list[RunView]:
    """The batch of that part, then all of its parts."""
    # Why here: few boxes work on one, and it takes long.
    from devbox.scale import batch as batches
    from devbox.scale.cost import batch_cost

    batch = ws.store.batches.get(part.batch)
    if batch is None:
        return [_view(ws, part)]
    whole = batches.as_run(ws, batch, part.box_id)
    parts = [_view(ws, run) for run in batches.parts(ws, batch)]
    return [RunView(whole, batch_cost(ws, batch), is_batch=True), *parts]


def _view(ws: Workspace, run: Run) -> RunView:
    return RunView(run, queries.cost(ws, run))

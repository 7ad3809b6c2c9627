"""Batches as rows, as JSON and as a last word."""

from __future__ import annotations

from pathlib import Path

from devbox.cli import run_report
from devbox.cli.common import echo, print_json
from devbox.model import Batch, Run
from devbox.scale import batch as batches
from devbox.scale.cost import batch_cost
from devbox.text import counted, dollars, duration
from devbox.workspace import Workspace


def report(ws: Workspace, batch: Batch, *, as_json: bool) -> None:
    """What it came to, and where its results are."""
    counts = ws.store.batches.counts(batch.id)
    took = duration((batch.ended or ws.clock()) - batch.created)
    failed = f", {counts.failed} failed" if counts.failed else ""
    ws.narrate(
        f"{batch.id} {batch.state} in {took}: {counts.done} of {counted(counts.total, 'piece')}"
        f"{failed}; cost {dollars(batch_cost(ws, batch))}"
    )
    folder = batches.results(batch)
    if as_json:
        print_json("run", run={**fields(ws, batch), "results": str(folder)})
        return
    here = Path.cwd()
    echo(str(folder.relative_to(here) if folder.is_relative_to(here) else folder))


def fields(ws: Workspace, batch: Batch) -> dict[str, object]:
    """A batch in the documented form of a run, with its workers and their parts."""
    counts = ws.store.batches.counts(batch.id)
    parts = batches.parts(ws, batch)
    failed = batches.failed(ws, batch)
    return {
        "id": batch.id,
        "job": batch.job,
        "box": batch.box_name,
        "state": batch.state,
        "created": batch.created,
        "started": min((run.started for run in parts if run.started), default=None),
        "ended": batch.ended,
        "exit_code": None,
        "cost_micro_dollars": batch_cost(ws, batch),
        "message": batch.message,
        "counts": {
            "total": counts.total,
            "done": counts.done,
            "failed": counts.failed,
            "skipped": 0,
        },
        "progress": [counts.done + counts.failed, counts.total],
        "unit": "pieces",
        "failures": [{"item": piece.name, "error": piece.error} for piece in failed[:100]],
        "workers": [
            {
                "number": worker.number,
                "box": worker.box_name,
                "state": worker.state,
                "run": worker.run or None,
                "message": worker.message,
            }
            for worker in ws.store.batches.workers(batch.id)
        ],
        "parts": [run_report.run_fields(ws, run) for run in parts],
    }


def row(ws: Workspace, batch: Batch) -> tuple[str, ...]:
    """As `run_report.row`."""
    run = batches.as_run(ws, batch)
    workers = [w for w in ws.store.batches.workers(batch.id) if not w.state.is_over]
    who = f"{batch.box_name}: {counted(len(workers), 'worker')}" if workers else batch.box_name
    *cells, _, _, message = run_report.row(ws, run)
    return (*cells, dollars(batch_cost(ws, batch)), who, message)


def latest(ws: Workspace, box_id: str | None, limit: int) -> list[Batch | Run]:
    """Batches and the runs that are part of none, newest first; of a box: its runs and parts."""
    if box_id is not None:
        return list(ws.store.runs.latest(box_id=box_id, limit=limit))
    found: list[Batch | Run] = [
        *ws.store.batches.latest(limit),
        *ws.store.runs.latest(limit=limit, parts=False),
    ]
    return sorted(found, key=lambda each: each.created, reverse=True)[:limit]


def open_parts(ws: Workspace, found: list[Batch | Run]) -> list[Run]:
    """Those of the batches among them that run."""
    running = [each for each in found if isinstance(each, Batch) and not each.state.is_over]
    return [run for batch in running for run in batches.parts(ws, batch)]

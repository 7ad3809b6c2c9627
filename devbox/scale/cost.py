"""What a batch costs: what its boxes cost for it."""

from __future__ import annotations

from collections.abc import Sequence

from devbox.errors import NotFound
from devbox.jobs import status
from devbox.model import Batch, Interval, Run
from devbox.scale import batch as batches
from devbox.state.costs import run_cost
from devbox.workspace import Workspace


def batch_cost(ws: Workspace, batch: Batch) -> int | None:
    """In micro-dollars: a box that was brought up since the batch began from its start, another
    while parts ran on it; with `--then` until that has ended it. None where a price is not known,
    or nothing is of a part that ran."""
    boxes = {box_id: list[Run]() for box_id in _boxes(ws, batch)}
    for run in batches.parts(ws, batch):
        boxes.setdefault(run.box_id, []).append(run)
    then = _then(batch)
    found = [_of_box(ws, batch, box_id, runs, then=then) for box_id, runs in boxes.items()]
    known = [each for each in found if each is not None]
    return sum(known) if len(known) == len(found) else None


def _boxes(ws: Workspace, batch: Batch) -> set[str]:
    """Ids of its workers' boxes. One that is coming up, or whose start failed, is in no worker's
    row; it has the worker's name."""
    found = set()
    for worker in ws.store.batches.workers(batch.id):
        if worker.box_id:
            found.add(worker.box_id)
            continue
        for box in ws.store.boxes.named(worker.box_name):
            if box.root == batch.root and box.created >= batch.created:
                found.add(box.id)
    return found


def _of_box(
    ws: Workspace, batch: Batch, box_id: str, runs: Sequence[Run], *, then: bool
) -> int | None:
    intervals = ws.store.ledger.of_box(box_id)
    now = ws.clock()
    stretches = [
        (each.started, now if each.ended is None else each.ended)
        for run in runs
        for each in status.of(run).attempts
    ]
    if any(run.started is not None for run in runs) and not (intervals and stretches):
        return None
    stretches += _starts(batch, intervals, stretches, now)
    if then:
        stretches = [(start, _ended(intervals, end, now)) for start, end in stretches]
    costs = [run_cost(intervals, start, end) for start, end in _joined(stretches)]
    known = [each for each in costs if each is not None]
    return sum(known) if len(known) == len(costs) else None


def _starts(
    batch: Batch,
    intervals: Sequence[Interval],
    stretches: Sequence[tuple[float, float]],
    now: float,
) -> list[tuple[float, float]]:
    """From where the box was brought up for it until a part ran there, if one did."""
    found = []
    for each in intervals:
        stop = now if each.end is None else each.end
        ran = [start for start, end in stretches if start < stop and each.start < end]
        if each.start >= batch.created:
            found.append((each.start, min(ran, default=batch.ended or now)))
    return [(start, end) for start, end in found if start < end]


def _then(batch: Batch) -> bool:
    """Whether its boxes are stopped after it."""
    try:
        return bool(batches.asked(batch).then)
    except NotFound:
        return False


def _ended(intervals: Sequence[Interval], moment: float, now: float) -> float:
    """When the interval of that moment ended."""
    for each in intervals:
        end = now if each.end is None else each.end
        if each.start <= moment <= end:
            return end
    return moment


def _joined(stretches: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Without counting a time twice."""
    found: list[tuple[float, float]] = []
    for start, end in sorted(stretches):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((start, end))
    return found

"""Runs that were started: how they are now, ending one, what they cost."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

import msgspec

from devbox.box import processes
from devbox.errors import DevboxError, NotFound
from devbox.jobs import status
from devbox.model import Box, BoxState, Run, RunState
from devbox.remote import agent
from devbox.remote.exec import Exec
from devbox.remote.preconditions import check_running
from devbox.state.costs import run_cost
from devbox.text import clean
from devbox.wire.jobs import JobAnswer, JobList
from devbox.workspace import Workspace

_ID = re.compile(r"[a-z0-9-]{1,80}")
_LOGIN = 5.0  # seconds for a box to answer when many are asked
_AT_ONCE = 8


def find(ws: Workspace, run_id: str | None) -> Run:
    """The run of that id, or the only one whose id begins so; without an id the latest one.
    NotFound otherwise."""
    runs = ws.store.runs.latest(limit=1 if run_id is None else 1000)
    if run_id is None:
        if runs:
            return runs[0]
        raise NotFound("there are no runs yet", fix="list the jobs with: devbox run")
    exact = ws.store.runs.get(run_id) if _ID.fullmatch(run_id) else None
    begun = [run for run in runs if run_id and run.id.startswith(run_id)]
    matching = [exact] if exact else begun
    if len(matching) == 1:
        return matching[0]
    count = "no run" if not matching else f"{len(matching)} runs"
    raise NotFound(f"{count} with an id that begins with {clean(run_id, 80)!r}", fix="devbox runs")


def refresh(ws: Workspace, runs: Sequence[Run], *, patience: float = 10.0) -> list[Run]:
    """The same runs, those that were not over asked of their boxes: all boxes at once, at most
    `patience` seconds in all. What cannot be asked stays as it was last known, or unknown."""
    open_runs = [run for run in runs if not run.state.is_over]
    by_box: dict[str, list[Run]] = {}
    for run in open_runs:
        by_box.setdefault(run.box_id, []).append(run)
    boxes = {box_id: ws.store.boxes.get(box_id) for box_id in by_box}
    updated = {run.id: run for run in runs}
    asked = {
        box_id: (box, by_box[box_id])
        for box_id, box in boxes.items()
        if box is not None and box.state == BoxState.RUNNING
    }
    for box_id, box in boxes.items():
        for run in by_box[box_id] if box_id not in asked else []:
            updated[run.id] = _without_box(ws, run, box)
    for box_id, answer in _ask(asked, patience).items():
        for run in by_box[box_id]:
            updated[run.id] = _with_answer(ws, run, answer)
    for run in open_runs:
        if updated[run.id] != run:
            ws.store.runs.put(updated[run.id])
    return [updated[run.id] for run in runs]


def cancel(ws: Workspace, run: Run) -> Run:
    """End a run with everything it started; returns it as it then is. One that is over stays so.
    SshError when its box cannot be reached: then it continues."""
    run = refresh(ws, [run])[0]
    box = ws.store.boxes.get(run.box_id)
    if run.state.is_over or box is None:
        return run
    check_running(box)
    seconds = "30 s to finish requests" if is_service(run) else "10 s to save"
    ws.narrate(f"ending {run.id} (programs get {seconds})")
    answer = agent.job(Exec(box), JobAnswer, "cancel", run.id)
    seen = status.shifted(answer.status, box_now=answer.now, now=ws.clock())
    run = status.apply(run, seen)
    ws.store.runs.put(run)
    ws.store.events.add(box.id, "run", f"run {run.id} {run.state}", ws.clock())
    return run


def is_service(run: Run) -> bool:
    """Whether it is a run of a service."""
    return b'"service":{' in run.request


def cost(ws: Workspace, run: Run) -> int | None:
    """What the run's box cost while its attempts ran, in micro-dollars; None when a price in it
    is unknown or nothing is known of that time. Runs at the same time share the box, and each
    shows all of it."""
    seen = status.of(run)
    intervals = ws.store.ledger.of_box(run.box_id)
    if not intervals or not seen.attempts:
        return None
    now = ws.clock()
    parts = [
        run_cost(intervals, attempt.started, now if attempt.ended is None else attempt.ended)
        for attempt in seen.attempts
    ]
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def _ask(asked: dict[str, tuple[Box, list[Run]]], patience: float) -> dict[str, JobList]:
    """Box id → the answer of its `job list`; those that gave none are left out."""
    answers: dict[str, JobList] = {}
    at_once = threading.BoundedSemaphore(_AT_ONCE)

    def ask(box: Box, ids: list[str]) -> None:
        # A box that does not answer is no error of `devbox runs`: it is shown as last known.
        with at_once, suppress(DevboxError):
            answers[box.id] = _list(box, ids)

    # Daemons, so that a hung box never holds up the end of the program.
    threads = [
        threading.Thread(target=ask, args=(box, [run.id for run in runs]), daemon=True)
        for box, runs in asked.values()
    ]
    deadline = time.monotonic() + patience
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return dict(answers)


def _list(box: Box, ids: list[str]) -> JobList:
    return agent.job(Exec(box), JobList, "list", *ids, timeout=_LOGIN)


def _with_answer(ws: Workspace, run: Run, answer: JobList) -> Run:
    for seen in answer.runs:
        if seen.id == run.id:
            now = ws.clock()
            return status.apply(run, status.shifted(seen, box_now=answer.now, now=now))
    if processes.is_alive(status.submitter(run)):
        return run  # on its way: another devbox is sending its inputs
    message = "it was never started: devbox ended before the box was asked to"
    if run.started is not None:
        message = "the box no longer knows it: its disk was emptied, and the outputs are gone"
    return status.fail(run, message, ws.clock())


def _without_box(ws: Workspace, run: Run, box: Box | None) -> Run:
    if box is None or box.state.is_over:
        return status.fail(run, "its box was ended before the run was seen to finish", ws.clock())
    return msgspec.structs.replace(run, state=RunState.UNKNOWN)

"""What a run is to wait for on its box, from what its job, its box's table and the user say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from devbox import spec
from devbox.errors import Conflict, UsageError
from devbox.jobs import queries, status
from devbox.model import Box, Run, RunState
from devbox.spec import JobSpec, ServiceSpec
from devbox.spec.values import RANKS, Priority, rank
from devbox.text import clean
from devbox.wire.jobs import JobStatus, QueueRequest
from devbox.workspace import Workspace

J = TypeVar("J", bound=JobSpec)
_MOST = 1000  # runs that are looked through, the newest


def wanted(box: Box, job: JobSpec, after: Sequence[str] = ()) -> QueueRequest | None:
    """None for a run that begins at once. after: ids of runs on that box. A service stays, so it
    takes none of the box's `max_runs` places."""
    most = None if isinstance(job, ServiceSpec) else spec.decode_box(box.spec).max_runs
    if not (job.gpus or after or most):
        return None
    return QueueRequest(job.gpus, tuple(after), rank(job.priority), most)


def with_options(job: J, gpus: int | None, priority: str | None) -> J:
    """The job with what was given on the command line in place of its own. UsageError."""
    changes: dict[str, int] = {} if gpus is None else {"gpus": gpus}
    if priority is not None:
        changes["priority"] = _priority(priority)
    return msgspec.structs.replace(job, **changes)


def _priority(text: str) -> int:
    try:
        return rank(msgspec.convert(RANKS.get(text, text), Priority, strict=False))
    except msgspec.ValidationError:
        raise UsageError(
            f"--priority cannot be {clean(text, 40)!r}",
            fix="low, normal, high, or a whole number from -1000 to 1000",
        ) from None


def named(ws: Workspace, box: Box, words: Sequence[str]) -> tuple[str, ...]:
    """The ids of the runs that these words name, each once. NotFound; Conflict for one of another
    box, UsageError for a service or a batch."""
    for batch in filter(None, map(ws.store.batches.get, words)):
        raise UsageError(
            f"{batch.id} is a batch, and a run waits for runs of its own box only",
            means="nothing was started",
            fix=f"devbox attach {batch.id} && devbox run …",
        )
    found = dict.fromkeys(queries.find(ws, word) for word in words)
    for run in found:
        if run.box_id != box.id:
            raise Conflict(
                f"run {run.id} is on {run.box_name}, and a run waits for runs of its own box only",
                means="nothing was started",
                fix=f"devbox run --box {run.box_name} --after {run.id} …",
            )
        if queries.is_service(run):
            raise UsageError(
                f"{run.id} is a service, which does not end by itself: nothing can begin after it",
                fix="leave out --after",
            )
    return tuple(run.id for run in found)


def waiting(ws: Workspace, box: Box) -> list[Run]:
    """The runs that wait on the box, the next one first, asked of it where it runs; those that wait
    for other runs are last."""
    known = ws.store.runs.latest(box_id=box.id, limit=_MOST)
    asked = queries.refresh(ws, [run for run in known if run.state is RunState.QUEUED])
    found = [(run, queued) for run in asked if (queued := status.of(run).queue)]
    found.sort(key=lambda each: (each[1].place or _MOST, each[1].since))
    return [run for run, _ in found]


def told(seen: JobStatus) -> str:
    """Why it waits and its place: 'waits for 1 GPU: held by a (2nd)'; '' when it does not wait."""
    if seen.queue is None:
        return ""
    return seen.queue.why + (f" ({ordinal(seen.queue.place)} in line)" if seen.queue.place else "")


def ordinal(number: int) -> str:
    """'1st', '12th'."""
    last = 0 if number % 100 in (11, 12, 13) else number % 10
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(last, 'th') }"

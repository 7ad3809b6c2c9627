"""Services that run: each is a run, and at most one of a name runs on a box."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from devbox import paths
from devbox.errors import Conflict, NotFound
from devbox.files import locked
from devbox.jobs import queries, queue, status
from devbox.jobs.arguments import Value
from devbox.jobs.submit import submit
from devbox.jobs.transfer import Tell
from devbox.model import Box, Run, RunState
from devbox.remote import agent
from devbox.remote.exec import Exec
from devbox.services import public
from devbox.spec import ServiceSpec
from devbox.text import clean
from devbox.wire.codec import JsonObject
from devbox.wire.jobs import JobList
from devbox.workspace import Workspace

_MOST = 1000  # runs that are looked through, the newest
_STARTING = 600.0  # seconds that another devbox may take to start the same service
#: what a run is told to have been asked for where another computer started it
_FOREIGN = b'{"request":{"service":{}},"sources":{}}'


class Begun(NamedTuple):
    """is_new: whether this call started it. differs: it runs with other arguments than asked."""

    run: Run
    is_new: bool
    differs: bool = False


def all_of(ws: Workspace, *, box: Box | None = None) -> list[Run]:
    """Runs of services, newest first, as last known."""
    found = ws.store.runs.latest(box_id=box.id if box else None, limit=_MOST)
    return [run for run in found if queries.is_service(run)]


def find(ws: Workspace, name: str, box: Box | None = None) -> Run:
    """The service of that name that runs. NotFound lists those that do; Conflict when it runs on
    several boxes."""
    live = [run for run in queries.refresh(ws, _open(ws, box)) if not run.state.is_over]
    named = [run for run in live if run.job == name]
    if len(named) == 1:
        return named[0]
    if named:
        boxes = ", ".join(run.box_name for run in named)
        raise Conflict(
            f"service {name} runs on several boxes: {boxes}",
            fix=f"name one of them: devbox services stop {name} --box {named[0].box_name}",
        )
    running = ", ".join(sorted({run.job for run in live})) or "none"
    raise NotFound(
        f"no service {clean(name, 60)!r} runs (running: {running})", fix="devbox services"
    )


def begin(
    ws: Workspace,
    box: Box,
    service: ServiceSpec,
    args: Mapping[str, Value],
    sources: Mapping[str, Path],
    *,
    extra: Sequence[str] = (),
    tell: Tell | None = None,
) -> Begun:
    """Start a service, or find it where it runs already, never a second one. Raises as `submit`
    and `public.check`."""
    if service.expose:
        public.check(ws, box, service)
    with locked(_lock(box, service.name), timeout=_STARTING):
        for run in queries.refresh(ws, _open(ws, box)):
            if run.job == service.name and not run.state.is_over and _is_there(run):
                return Begun(run, False, _differs(run, args, extra))
        try:
            wants = queue.wanted(box, service)
            run = submit(ws, box, service, args, sources, extra=extra, queue=wants, tell=tell)
            return Begun(run, True)
        except Conflict as error:
            run = _refused(ws, box, service.name, error)
            return Begun(run, False, _differs(run, args, extra))


def _open(ws: Workspace, box: Box | None) -> list[Run]:
    return [run for run in all_of(ws, box=box) if not run.state.is_over]


def _is_there(run: Run) -> bool:
    """Whether its box has it, or may have: one that is only being sent is no answer."""
    return run.state is not RunState.QUEUED or status.of(run).state == "queued"


def _refused(ws: Workspace, box: Box, name: str, error: Conflict) -> Run:
    """The run of that service that the box has and this computer did not know: another computer
    started it. Raises `error` where there is none."""
    for mine in _open(ws, box):
        if mine.job == name and mine.started is None:
            ws.store.runs.put(status.fail(mine, error.what, ws.clock()))
    answer = agent.job(Exec(box), JobList, "list")
    for there in answer.runs:
        if there.service is None or there.job != name or there.is_over:
            continue
        seen = status.shifted(there, box_now=answer.now, now=ws.clock())
        known = ws.store.runs.get(seen.id)
        run = known or Run(
            id=seen.id,
            box_id=box.id,
            box_name=box.name,
            job=name,
            state=RunState.RUNNING,
            created=seen.started or ws.clock(),
            request=_FOREIGN,
            status=b"",
        )
        run = status.apply(run, seen)
        ws.store.runs.put(run)
        return run
    raise error


def _differs(run: Run, args: Mapping[str, Value], extra: Sequence[str]) -> bool:
    """Whether it was started with other arguments; False where that is not known."""
    found: JsonObject = msgspec.json.decode(run.request).get("request", {})
    return "args" in found and (found["args"], found.get("extra")) != (dict(args), list(extra))


def _lock(box: Box, name: str) -> Path:
    digest = hashlib.sha256(f"{box.id} {name}".encode()).hexdigest()[:16]
    return paths.cache_dir() / f"serve-{digest}.lock"

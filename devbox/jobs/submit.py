"""Starting runs: their ids, what is sent, and starting again what failed.

The run is journalled before anything reaches the box, and starting is idempotent by its id there:
a reply that is lost is asked for again, and a laptop that dies in between finds the run later.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from devbox import spec
from devbox.box import processes
from devbox.box.services import serve
from devbox.errors import Conflict, NoAnswer, NotFound, SpecError, SshError, UsageError
from devbox.jobs import inputs, status
from devbox.jobs.arguments import Value
from devbox.jobs.catalogue import COMMAND, plain
from devbox.jobs.transfer import Tell
from devbox.model import Box, Run, RunState
from devbox.remote import agent, agent_bootstrap, refusal
from devbox.remote.exec import Exec
from devbox.remote.preconditions import check_running
from devbox.secrets import resolve
from devbox.spec import Checkpoint, JobSpec, ServiceSpec
from devbox.telemetry import rearm
from devbox.wire import codec
from devbox.wire.jobs import (
    TOKEN,
    CheckpointFetch,
    Environment,
    JobAnswer,
    JobRequest,
    QueueRequest,
    ServiceRequest,
    Spread,
)
from devbox.wire.messages import End
from devbox.workspace import Workspace

_GRACE, _DRAIN = 10.0, 30.0  # seconds a job has to save, and a service to finish its requests
_NAMES = "batch-pieces"  # the input of a part that holds the names of all pieces
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"


class Ordered(NamedTuple):
    """What a box does once a run has ended. wanted: what was asked for; does: what of it the box
    does by itself."""

    wanted: End
    does: End


class Part(NamedTuple):
    """A run that is a worker's part of a batch. spread: the input that comes in rounds, and where
    the names of all its pieces are here."""

    id: str
    batch: str
    input: str
    names: Path


def submit(
    ws: Workspace,
    box: Box,
    job: JobSpec,
    args: Mapping[str, Value],
    sources: Mapping[str, Path],
    *,
    extra: Sequence[str] = (),
    then: Ordered | None = None,
    part: Part | None = None,
    queue: QueueRequest | None = None,
    tell: Tell | None = None,
) -> Run:
    """Send the inputs and start the job; returns once it runs or is queued on the box, or is known
    to have been refused.

    args: a value for every argument; sources: input name → local file or folder; both as
    `arguments.parse` gives them. extra: further words for a command. then: what the box does once
    it has ended. part: it is a part of a batch, which is then given its rounds. queue: what it
    waits for there. tell: gets the progress of the transfer.
    Conflict when the box does not run; SyncError, SshError when it cannot be reached. After a
    NoAnswer the run may have been started all the same: `control.refresh` finds out.
    """
    check_running(box)
    looked = [inputs.look(name, path) for name, path in sources.items()]
    looked += [inputs.look(_NAMES, part.names)] if part else []
    looked += _weights(ws.project_of(box), job)
    now = ws.clock()
    run_id = part.id if part else new_id(job.name, now)
    request = _request(ws, box, run_id, job, args, looked, extra)
    request = request._replace(then=then.does if then else None, queue=queue)
    if part:
        request = request._replace(
            spread=Spread(part.input, request.inputs[_NAMES]),
            patterns={**request.patterns, part.input: job.inputs[part.input].patterns},
        )
    journalled = {"request": codec.plain(request), "sources": {s.name: str(s.path) for s in looked}}
    journalled |= {"then": then.wanted} if then else {}
    run = Run(
        id=run_id,
        box_id=box.id,
        box_name=box.name,
        job=job.name,
        state=RunState.QUEUED,
        created=now,
        request=msgspec.json.encode(journalled),
        status=status.begun(processes.identity(os.getpid())),
        batch=part.batch if part else "",
    )
    ws.store.runs.put(run)
    ws.store.events.add(box.id, "run", f"run {run_id} begins", now)
    return _start(ws, box, run, request, looked, tell)


def _journalled(run: Run) -> tuple[codec.JsonObject, JobRequest]:
    """What was asked for and from where. NotFound when the record of it is damaged."""
    found: codec.JsonObject = msgspec.json.decode(run.request)
    try:
        if "sources" in found:
            return found, codec.convert(found.get("request"), JobRequest)
    except codec.Unreadable:
        pass
    raise NotFound(
        f"the record of what run {run.id} was asked to do cannot be read",
        means="the run on its box is untouched",
        fix=f"start it again: devbox run {run.job}",
    )


def retry(ws: Workspace, run: Run, *, then: Ordered | None = None, tell: Tell | None = None) -> Run:
    """A further attempt of a run that is over, on the same inputs, keeping what is done. then: as
    in `submit`; what was ordered with the attempt before is not.

    Conflict while it runs, when its box is gone, or when an input has changed since and the box
    no longer has the old one.
    """
    box = ws.store.boxes.get(run.box_id)
    if box is None or box.state.is_over:
        raise Conflict(
            f"the box of run {run.id} is gone, and with it what the run had done",
            fix=f"start again on another box: devbox run {_again(run)}",
        )
    check_running(box)
    if run.state in (RunState.RUNNING, RunState.QUEUED):
        raise Conflict(f"run {run.id} is {run.state}", fix=f"devbox attach {run.id}")
    journalled, request = _journalled(run)
    does = then.does if then else None
    request = request._replace(attempt=status.of(run).attempt + 1, then=does)
    journalled["then"] = then.wanted if then else None
    looked = []
    sources = journalled["sources"]
    for name, path in sources.items() if isinstance(sources, dict) else ():
        source = _as_sent(name, Path(str(path)), request.inputs[name])
        looked += [source] if source else []
    journalled["request"] = codec.plain(request)
    run = msgspec.structs.replace(
        run, request=msgspec.json.encode(journalled), state=RunState.QUEUED
    )
    ws.store.runs.put(run)
    ws.store.events.add(box.id, "run", f"run {run.id} is tried again", ws.clock())
    return _start(ws, box, run, request, looked, tell)


def new_id(job: str, now: float) -> str:
    """'track-20261122-151203-x7f2': sorts by time (UTC) within a job, safe as a folder name."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now))
    return f"{job}-{stamp}-{''.join(secrets.choice(_ALPHABET) for _ in range(4))}"


def _start(
    ws: Workspace,
    box: Box,
    run: Run,
    request: JobRequest,
    looked: list[inputs.Source],
    tell: Tell | None,
) -> Run:
    asked = False
    for wait in (*refusal.WAITS[1:5], None):
        try:
            whole = request._replace(secrets=_secrets(ws.project_of(box), request))
            line = Exec(box)
            agent_bootstrap.install(line)
            if request.then:  # an agent of other code may know no such order
                rearm.arm(ws, box, line)
            else:
                rearm.see_to(ws, box, line)
            for source in looked:
                inputs.send(ws, line, source, tell)
            asked = True
            answer = agent.job(line, JobAnswer, "start", request=whole)
            break
        except NoAnswer as error:
            if wait is None:
                if asked:
                    raise _unsure(NoAnswer, error, run) from error
                ws.store.runs.put(status.fail(run, str(error), ws.clock()))
                raise
            ws.narrate(f"{error.what}; asking again")
            ws.sleep(wait)
        except Exception as error:
            if isinstance(error, NotFound) and request.queue and request.queue.gpus:
                error.fix = error.fix or f"which GPUs it has: devbox doctor {box.name}"
            # Certainly not started; else the row stays queued, until `control.refresh` knows.
            if not asked or isinstance(error, (NotFound, UsageError)):
                ws.store.runs.put(status.fail(run, str(error), ws.clock()))
            if asked and isinstance(error, SshError):
                raise _unsure(SshError, error, run) from error
            raise
    seen = status.shifted(answer.status, box_now=answer.now, now=ws.clock())
    run = status.apply(run, seen)
    ws.store.runs.put(run)
    return run


def _unsure(kind: type[SshError], error: SshError, run: Run) -> SshError:
    """The box was asked to start the run and its answer is not known. The row stays queued until
    `control.refresh` has asked."""
    return kind(
        f"{error.what}, while starting run {run.id}",
        means="it may have been started; nothing is lost either way",
        fix=f"devbox runs, then devbox attach {run.id} or devbox retry {run.id}",
        box=error.box,
    )


def _request(
    ws: Workspace,
    box: Box,
    run_id: str,
    job: JobSpec,
    args: Mapping[str, Value],
    looked: Sequence[inputs.Source],
    extra: Sequence[str],
) -> JobRequest:
    checkpoints = {name: _checkpoint(ws.project_of(box), job, name) for name in job.checkpoints}
    return JobRequest(
        id=run_id,
        job=job.name,
        module=job.module,
        command=job.command,
        template=job.name != COMMAND,
        extra=tuple(plain(word, "the command") for word in extra),
        args=dict(args),
        inputs={source.name: source.remote for source in looked},
        patterns={s.name: job.inputs[s.name].patterns for s in looked if s.name in job.inputs},
        checkpoints={name: each.path for name, each in checkpoints.items()},
        fetch={name: _origin(name, each, looked) for name, each in checkpoints.items()},
        env=dict(spec.decode_box(box.spec).env),
        packages=_packages(job),
        environment=_environment(job),
        service=_service(job),
        workdir=box.workdir,
        vram=int(job.vram),
        timeout=None if job.timeout is None else float(job.timeout),
        grace=_DRAIN if isinstance(job, ServiceSpec) else _GRACE,
    )


def _checkpoint(project: spec.Spec, job: JobSpec, name: str) -> Checkpoint:
    found = project.checkpoint(name)
    if found is None:
        raise SpecError(
            f"job {job.name} needs the checkpoint {name}, which devbox.toml does not have",
            fix=f"add a [checkpoints.{name}] table with source and path",
        )
    return found


def _packages(job: JobSpec) -> tuple[str, ...]:
    """Those of the job; an app needs what serves it as well."""
    serves = isinstance(job, ServiceSpec) and job.module
    return (*job.packages, *(serve.PACKAGES if serves else ()))


def _service(job: JobSpec) -> ServiceRequest | None:
    if not isinstance(job, ServiceSpec):
        return None
    return ServiceRequest(job.port, job.health, float(job.start_timeout), job.expose)


def _environment(job: JobSpec) -> Environment | None:
    wanted = job.environment
    return Environment(wanted.packages, wanted.no_deps, wanted.python) if wanted else None


def _weights(project: spec.Spec, job: JobSpec) -> list[inputs.Source]:
    """Checkpoints that lie on this computer, as inputs: sent once, found again by a retry."""
    named = ((name, _checkpoint(project, job, name)) for name in job.checkpoints)
    found = {name: path for name, each in named if (path := each.local(project.root))}
    for name, path in found.items():
        if not path.exists():
            raise NotFound(
                f"checkpoint {name} is not there: {path}",
                means="nothing was started",
                fix=f"put it there, or correct source in [checkpoints.{name}]",
            )
    return [inputs.look(f"checkpoint-{name}", path) for name, path in found.items()]


def _origin(name: str, found: Checkpoint, looked: Sequence[inputs.Source]) -> CheckpointFetch:
    size = None if found.size is None else int(found.size)
    sent = next((each for each in looked if each.name == f"checkpoint-{name}"), None)
    origin = found.origin
    if sent:
        origin = f"./{sent.remote}" + "/" * found.origin.endswith("/")
    return CheckpointFetch(origin, found.sha256, found.bytes, size, found.page)


def _secrets(project: spec.Spec, request: JobRequest) -> dict[str, str]:
    """What the box needs to fetch the checkpoints, read now and kept nowhere, and the token of a
    public service."""
    named = {name: project.checkpoint(name) for name in request.checkpoints}
    found = {name: resolve(each.secret) for name, each in named.items() if each and each.secret}
    if request.service and request.service.expose:
        from devbox.services import public  # why here: it knows services, which are made of runs

        found[TOKEN] = public.token(project, request)
    return found


def _as_sent(name: str, path: Path, remote: str) -> inputs.Source | None:
    """The input to send again should the box not have it; None when the box must have it,
    because here it is gone or another one."""
    try:
        source = inputs.look(name, path)
    except (NotFound, OSError):
        return None
    return source if source.remote == remote else None


def _again(run: Run) -> str:
    return "-- COMMAND …" if run.job == COMMAND else f"{run.job} -- …"

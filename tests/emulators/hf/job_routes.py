"""Routes of Jobs: hardware, run, list, inspect, cancel, labels, logs, metrics."""

from __future__ import annotations

import asyncio
import re
import secrets
from typing import Any

from aiohttp import web

from tests.emulators.common import FaultKind
from tests.emulators.hf.http import Context, HubError, Route
from tests.emulators.hf.job import Job
from tests.emulators.hf.logs import as_event, open_events, stream_log

ONE = "/api/jobs/{namespace}/{job}"
LABEL = re.compile(r"[A-Za-z0-9._-]{0,100}")


async def list_hardware(call: Context) -> web.StreamResponse:
    return web.json_response([flavor.row() for flavor in call.hub.flavors["jobs"].values()])


async def run_job(call: Context) -> web.StreamResponse:
    spec = await call.json()
    _check_namespace(call)
    if spec.get("flavor") not in call.hub.flavors["jobs"]:
        raise HubError(400, f"Invalid flavor {spec.get('flavor')}")
    if bool(spec.get("dockerImage")) == bool(spec.get("spaceId")):
        raise HubError(400, "Give either dockerImage or spaceId")
    _check_labels(spec.get("labels") or {})
    if not call.hub.account.can_pay:
        raise HubError(
            402, "Pre-paid credit balance is insufficient - add more credits to your account"
        )
    return web.json_response(_start(call, spec).info())


async def rerun_job(call: Context) -> web.StreamResponse:
    job = _job(call, write=True)
    return web.json_response(_start(call, {**job.spec, "labels": dict(job.labels)}).info())


async def list_jobs(call: Context) -> web.StreamResponse:
    _check_namespace(call)
    query = call.request.query
    lag = call.hub.knobs.take("list_jobs", FaultKind.LIST_LAG)
    newest = call.hub.clock.now() - (lag.seconds if lag else 0.0)
    stages = query.getall("stage", [])
    labels = [text.partition("=")[::2] for text in query.getall("label", [])]
    found = [
        job.info()
        for job in reversed(list(call.hub.jobs.values()))
        if job.namespace == call.path("namespace")
        and (not stages or job.stage in stages)
        and all(job.labels.get(key) == value for key, value in labels)
        and (lag is None or job.created <= newest)
    ]
    return call.hub.page(call.request, found)


async def inspect_job(call: Context) -> web.StreamResponse:
    return web.json_response(_job(call).info())


async def cancel_job(call: Context) -> web.StreamResponse:
    job = _job(call, write=True)
    if job.over:
        raise HubError(400, f"Job is already {job.stage}")
    if call.hub.knobs.take("cancel_job", FaultKind.STOP_IGNORED) is None:
        job.cancel()
    return web.json_response(job.info())


async def set_labels(call: Context) -> web.StreamResponse:
    job = _job(call, write=True)
    labels = (await call.json()).get("labels", {})
    _check_labels(labels)
    job.labels = labels
    return web.json_response(job.info())


async def set_expose(call: Context) -> web.StreamResponse:
    job = _job(call, write=True)
    job.spec["expose"] = await call.json()
    return web.json_response(job.info())


async def logs(call: Context) -> web.StreamResponse:
    job = _job(call)
    tail = call.request.query.get("tail")
    return await stream_log(
        call.request, job.log, call.hub.clock, call.fault, None if tail is None else int(tail)
    )


async def metrics(call: Context) -> web.StreamResponse:
    """One sample a second (of wall time) while the Job runs; 406 once it is over."""
    job = _job(call)
    if job.over:
        raise HubError(406, "Job is not running")
    response = await open_events(call.request, call.hub.clock)
    while not job.over:
        if job.stage == "RUNNING":
            await response.write(as_event(job.metrics(), "metric"))
            if call.fault is not None and call.fault.kind is FaultKind.REPLY_LOST:
                return response
        await asyncio.sleep(1.0 if job.stage == "RUNNING" else 0.05)
    await response.write_eof()
    return response


def _start(call: Context, spec: dict[str, Any]) -> Job:
    fault = call.hub.knobs.take("run_job", FaultKind.BUILD_ERROR)
    job = Job(
        call.hub,
        secrets.token_hex(12),
        call.path("namespace"),
        spec,
        call.hub.clock.now(),
        fault.lines if fault else (),
    )
    call.hub.jobs[job.id] = job
    return job


def _job(call: Context, *, write: bool = False) -> Job:
    job = call.hub.jobs.get(call.path("job"))
    if job is None or job.namespace != call.path("namespace"):
        raise HubError(404, "Job not found")
    _check_namespace(call)
    if write and not (call.token and call.token.write):
        raise HubError(403, "You don't have the required permissions for this action")
    return job


def _check_namespace(call: Context) -> None:
    if not call.hub.account.owns(call.path("namespace")) or (
        call.token is not None and call.token.repos is not None
    ):
        raise HubError(403, f"You don't have access to Jobs of {call.path('namespace')}")


def _check_labels(labels: dict[str, str]) -> None:
    for key, value in labels.items():
        if not LABEL.fullmatch(key) or not LABEL.fullmatch(str(value)):
            raise HubError(400, f"Invalid label {key}={value}")


ROUTES = (
    Route("GET", "/api/jobs/hardware", "job_hardware", list_hardware, public=True),
    Route("POST", "/api/jobs/{namespace}", "run_job", run_job),
    Route("GET", "/api/jobs/{namespace}", "list_jobs", list_jobs),
    Route("GET", ONE, "inspect_job", inspect_job),
    Route("POST", f"{ONE}/cancel", "cancel_job", cancel_job),
    Route("POST", f"{ONE}/duplicate", "rerun_job", rerun_job),
    Route("PUT", f"{ONE}/labels", "job_labels", set_labels),
    Route("PUT", f"{ONE}/expose", "job_expose", set_expose),
    Route("GET", f"{ONE}/logs", "job_logs", logs),
    Route("GET", f"{ONE}/metrics", "job_metrics", metrics),
)

"""What runs came to, for people and as JSON."""

from __future__ import annotations

from pathlib import Path

from devbox.cli.common import echo, print_json
from devbox.cli.run_view import amount
from devbox.cli.transfer import transfer
from devbox.errors import JobFailed
from devbox.jobs import catalogue, fetch, queries, queue, status
from devbox.jobs.follow import Ended, Progress
from devbox.model import Run, RunState
from devbox.text import dollars, duration
from devbox.wire.codec import plain
from devbox.wire.jobs import JobStatus
from devbox.workspace import Workspace


def report(ws: Workspace, ended: Ended, dest: Path | None, *, as_json: bool, quiet: bool) -> None:
    """Fetch, say where and what it cost. JobFailed when not all of it is well."""
    run, seen = ended.run, ended.status
    with transfer(quiet) as tell:
        folder = fetch.fetch(ws, run, dest, tell=tell)
    took, price = duration(status.seconds(seen, ws.clock())), dollars(queries.cost(ws, run))
    ws.narrate(f"{run.id} {run.state} in {took}{_counts(ended)}; cost {price}")
    shown = tell_results(ws, run, folder, as_json)
    if run.state == RunState.SUCCEEDED:
        return
    for failure in seen.failures[:10]:
        ws.narrate(f"  {failure.item}: {failure.error}")
    if seen.counts.failed > 10:
        ws.narrate(f"  … and {seen.counts.failed - 10} more")
    raise JobFailed(
        f"run {run.id} {run.state}: {seen.message or 'no reason was given'}",
        means=f"what it did is in {shown}, its log in {shown}/{fetch.NOTES}/log.txt",
        fix=_next(run, seen),
    )


def _next(run: Run, seen: JobStatus) -> str:
    if seen.reason == "unprepared":  # the same again would fail the same
        return f"change what that names (packages, image, checkpoints), then: devbox run {run.job}"
    only = " does only what failed or is missing" if seen.counts.total else ""
    return f"devbox retry {run.id}{only}"


def _counts(ended: Ended) -> str:
    counts = ended.status.counts
    if not counts.total:
        return ""
    text = f": {counts.done} of {counts.total} items"
    text += f", {counts.failed} failed" if counts.failed else ""
    return text + (f", {counts.skipped} skipped" if counts.skipped else "")


def tell_results(ws: Workspace, run: Run, folder: Path, as_json: bool) -> str:
    """Where they are, as printed."""
    here = Path.cwd()
    shown = str(folder.relative_to(here) if folder.is_relative_to(here) else folder)
    if as_json:
        print_json("run", run={**run_fields(ws, run), "results": str(folder)})
    else:
        echo(shown)
    return shown


def run_fields(ws: Workspace, run: Run) -> dict[str, object]:
    """A run in the documented form. Times are unix seconds, memory bytes, cost micro-dollars."""
    seen = plain(status.of(run))
    kept = ("reason", "message", "attempt", "counts", "progress", "unit", "eta", "timings")
    return {
        "id": run.id,
        "job": run.job,
        "box": run.box_name,
        "state": run.state,
        "created": run.created,
        "started": run.started,
        "ended": run.ended,
        "exit_code": run.exit_code,
        "cost_micro_dollars": queries.cost(ws, run),
        **{
            key: seen[key]
            for key in (*kept, "failures", "failures_dropped", "peak", "queue", "gpus")
        },
    }


def print_jobs(ws: Workspace, as_json: bool) -> None:
    jobs = catalogue.all_jobs(ws.spec)
    if as_json:
        print_json(
            "jobs", jobs=[{"name": job.name, "summary": job.summary} for job in jobs.values()]
        )
        return
    for job in jobs.values():
        echo(f"{job.name:<16} {job.summary or ' '.join(job.command)[:60]}".rstrip())
    name = next(iter(jobs), "track")
    ws.narrate(
        f"what {name} takes: devbox run {name} -- --help; "
        "a command of your own: devbox run -- python main.py"
    )


HEAD = ("RUN", "STATE", "PROGRESS", "TIME", "COST", "BOX", "")


def row(ws: Workspace, run: Run) -> tuple[str, ...]:
    """A run as a row under HEAD."""
    seen = status.of(run)
    shown = amount(Progress(*seen.progress, seen.unit, "", None))
    return (
        run.id,
        run.state,
        shown or "–",
        duration(status.seconds(seen, ws.clock())),
        dollars(queries.cost(ws, run)),
        run.box_name,
        (seen.message or queue.told(seen))[:60],
    )

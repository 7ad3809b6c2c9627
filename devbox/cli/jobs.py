"""Verbs of jobs: run, runs, logs, attach, cancel, retry."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from devbox.cli.common import echo, json_option, page, print_json, quiet_option, workspace
from devbox.cli.following import following
from devbox.errors import UsageError

if TYPE_CHECKING:
    from devbox.jobs.follow import Ended
    from devbox.model import Run
    from devbox.spec import JobSpec
    from devbox.wire.messages import JobStatus
    from devbox.workspace import Workspace


_PIECE = 40_000  # characters of a fetched log that are read at once


class _WordsAfterDashes(click.Command):
    """Everything after the first `--` belongs to the job and is never read as ours."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        at = args.index("--") if "--" in args else len(args)
        ctx.meta["devbox.words"] = args[at + 1 :]
        return super().parse_args(ctx, args[:at])


def _complete_jobs(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    from devbox.jobs import catalogue

    return [n for n in catalogue.all_jobs(workspace(quiet=True).spec) if n.startswith(incomplete)]


def _complete_runs(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    runs = workspace(quiet=True).store.runs.latest()
    return [run.id for run in runs if run.id.startswith(incomplete)]


_run_argument = click.argument(
    "run_id", metavar="[RUN]", required=False, shell_complete=_complete_runs
)
_detach_option = click.option("--detach", "-d", is_flag=True, help="Return once it runs.")
_dest_option = click.option(
    "--dest", type=click.Path(path_type=Path, file_okay=False), help="Folder for the results."
)
_no_sync_option = click.option(
    "--no-sync", is_flag=True, help="Run what is on the box; do not sync up first."
)


@click.command("run", cls=_WordsAfterDashes)
@click.argument("job_name", metavar="[JOB]", required=False, shell_complete=_complete_jobs)
@click.option("--box", "box_name", help="The box to run on; needed when there are several.")
@_detach_option
@_dest_option
@_no_sync_option
@json_option
@quiet_option
@click.pass_context
def run_command(
    ctx: click.Context,
    job_name: str | None,
    box_name: str | None,
    detach: bool,
    dest: Path | None,
    no_sync: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run JOB, or a command of your own, on a box: sync up, send its inputs, follow it, fetch what
    it made.

    \b
    devbox run                               which jobs there are
    devbox run track -- --help               what a job takes
    devbox run track -- --video clip.mp4
    devbox run --detach -- python train.py --lr 3
    """
    from devbox.cli.run_view import transfers
    from devbox.jobs import arguments, catalogue
    from devbox.jobs.submit import submit
    from devbox.sync import before

    ws = workspace(quiet=quiet)
    words: list[str] = ctx.meta["devbox.words"]
    if job_name is None and not words:
        _print_jobs(ws, as_json)
        return
    extra: list[str] = []
    if job_name is None:
        job, given = catalogue.ad_hoc_command(words), arguments.Parsed({}, {})
    else:
        job = catalogue.find(ws.project_of(ws.box(box_name)) if box_name else ws.spec, job_name)
        if words == ["--help"] and not _takes_words(job):
            page(arguments.describe(job))
            return
        if _takes_words(job):
            extra, words = words, []
        given = arguments.parse(job, words)
    box = ws.box(box_name or job.box or None)
    if not no_sync:
        before.send(ws, box)
    run = submit(ws, box, job, given.args, given.inputs, extra=extra, tell=transfers(ws))
    _go_on(ws, run, detach=detach, dest=dest, as_json=as_json, quiet=quiet)


@click.command("attach")
@_run_argument
@click.option("--no-wait", is_flag=True, help="Fetch what it made so far, and return.")
@_dest_option
@json_option
@quiet_option
def attach_command(
    run_id: str | None, no_wait: bool, dest: Path | None, as_json: bool, quiet: bool
) -> None:
    """Follow RUN (default: the latest) to its end, then fetch what it made."""
    from devbox.cli.run_view import transfers
    from devbox.jobs import fetch, queries

    ws = workspace(quiet=quiet)
    if no_wait:
        run = queries.find(ws, run_id)
        _tell_results(ws, run, fetch.fetch(ws, run, dest, tell=transfers(ws)), as_json)
        return
    run = queries.refresh(ws, [queries.find(ws, run_id)])[0]
    _follow(ws, run, after="tail", dest=dest, as_json=as_json, quiet=quiet)


@click.command("retry")
@_run_argument
@_detach_option
@_dest_option
@_no_sync_option
@json_option
@quiet_option
def retry_command(
    run_id: str | None,
    detach: bool,
    dest: Path | None,
    no_sync: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Sync up, then run again what failed or is missing of RUN (default: the latest); what is done
    is kept."""
    from devbox.cli.run_view import transfers
    from devbox.jobs import queries
    from devbox.jobs.submit import retry
    from devbox.model import RunState
    from devbox.sync import before

    ws = workspace(quiet=quiet)
    run = queries.refresh(ws, [queries.find(ws, run_id)])[0]
    box = ws.store.boxes.get(run.box_id)
    # One that still runs is refused, and its files stay as it found them.
    if box and not no_sync and run.state not in (RunState.QUEUED, RunState.RUNNING):
        before.send(ws, box)
    run = retry(ws, run, tell=transfers(ws))
    _go_on(ws, run, detach=detach, dest=dest, as_json=as_json, quiet=quiet)


@click.command("cancel")
@_run_argument
@json_option
@quiet_option
def cancel_command(run_id: str | None, as_json: bool, quiet: bool) -> None:
    """End RUN (default: the latest) with everything it started; what is done is kept."""
    from devbox.jobs import queries

    ws = workspace(quiet=quiet)
    run = queries.cancel(ws, queries.find(ws, run_id))
    if as_json:
        print_json("run", run=_as_json(ws, run))
    else:
        echo(f"{run.id} {run.state}")


@click.command("runs")
@click.option("--box", "box_name", help="Only runs on that box.")
@click.option("--limit", default=20, show_default=True, help="How many, newest first.")
@click.option("--no-refresh", is_flag=True, help="As last known, without asking boxes.")
@json_option
def runs_command(box_name: str | None, limit: int, no_refresh: bool, as_json: bool) -> None:
    """List runs, newest first. Running jobs are refreshed from their boxes."""
    from devbox.jobs import queries

    ws = workspace(quiet=True)
    box_id = None if box_name is None else ws.box(box_name).id
    runs = ws.store.runs.latest(box_id=box_id, limit=max(1, limit))
    if not no_refresh:
        runs = queries.refresh(ws, runs)
    if as_json:
        print_json("runs", runs=[_as_json(ws, run) for run in runs])
        return
    _print_runs(ws, runs)


@click.command("logs")
@_run_argument
@click.option("--follow", "-f", "go_on", is_flag=True, help="Continue until the run ends.")
@click.option("--box", "box_name", help="What a box itself prints, as its provider keeps it.")
def logs_command(run_id: str | None, go_on: bool, box_name: str | None) -> None:
    """Print the log of RUN (default: the latest) on stdout, or that of a box."""
    from devbox.jobs import fetch, queries
    from devbox.jobs.follow import Line, follow
    from devbox.model import BoxState
    from devbox.text import clean, size

    ws = workspace()
    if box_name is not None:
        _box_log(ws, box_name, go_on)
        return
    run = queries.find(ws, run_id)
    box = ws.store.boxes.get(run.box_id)
    fetched = fetch.default_folder(ws, run) / fetch.NOTES / "log.txt"
    if (box is None or box.state != BoxState.RUNNING) and fetched.is_file():
        ws.narrate(f"box {run.box_name} is not running; this is the log as fetched")
        with fetched.open(encoding="utf-8", errors="replace") as stream:
            while text := stream.readline(_PIECE):
                sys.stdout.write(clean(text, 2 * _PIECE))
        return
    with following():
        for message in follow(ws, run, wait=go_on):
            if isinstance(message, Line):
                if message.dropped:
                    sys.stdout.write(f"… {size(message.dropped)} were dropped here …\n")
                # Only what is followed goes out at once: a flush a line takes longer than all else.
                sys.stdout.write(message.text + ("\n" if message.end else ""))
                if go_on:
                    sys.stdout.flush()


def _box_log(ws: Workspace, name: str, go_on: bool) -> None:
    from devbox.providers.base import HasRunLogs
    from devbox.text import clean

    box = ws.box(name)
    provider = ws.provider_of(box)
    if not isinstance(provider, HasRunLogs) or not box.handle:
        raise UsageError(f"{box.provider} keeps no log of {box.name}", fix="devbox events " + name)
    with following():
        for line in provider.run_logs(box.handle, follow=go_on):
            echo(clean(line, 40_000))


def _go_on(
    ws: Workspace, run: Run, *, detach: bool, dest: Path | None, as_json: bool, quiet: bool
) -> None:
    """After a start: leave it alone, or follow it to its end."""
    if not detach:
        ws.narrate(f"run {run.id} on {run.box_name}")
        _follow(ws, run, after="", dest=dest, as_json=as_json, quiet=quiet)
        return
    ws.narrate(f"running on {run.box_name}; follow it: devbox attach {run.id}")
    if as_json:
        print_json("run", run=_as_json(ws, run))
    else:
        echo(run.id)


def _follow(
    ws: Workspace, run: Run, *, after: str, dest: Path | None, as_json: bool, quiet: bool
) -> None:
    from devbox.cli.run_view import watch
    from devbox.errors import Interrupted
    from devbox.jobs.follow import follow

    try:
        with following(sys.stderr):
            ended = watch(follow(ws, run, after=after), run.job, quiet=quiet, clock=ws.clock)
    except KeyboardInterrupt:
        raise Interrupted(
            f"detached; run {run.id} continues on {run.box_name}",
            means=f"follow it again: devbox attach {run.id}",
            fix=f"to end it: devbox cancel {run.id}",
        ) from None
    assert ended is not None  # `follow` raises when it cannot continue to the end
    _report(ws, ended, dest, as_json)


def _report(ws: Workspace, ended: Ended, dest: Path | None, as_json: bool) -> None:
    """Fetch, say where and what it cost. JobFailed when not all of it is well."""
    from devbox.cli.run_view import transfers
    from devbox.errors import JobFailed
    from devbox.jobs import fetch, queries, status
    from devbox.model import RunState
    from devbox.text import dollars, duration

    run, seen = ended.run, ended.status
    folder = fetch.fetch(ws, run, dest, tell=transfers(ws))
    took, price = duration(status.seconds(seen, ws.clock())), dollars(queries.cost(ws, run))
    ws.narrate(f"{run.id} {run.state} in {took}{_counts(ended)}; cost {price}")
    shown = _tell_results(ws, run, folder, as_json)
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


def _takes_words(job: JobSpec) -> bool:
    """A command without declared arguments takes the words after -- as they are."""
    return bool(job.command) and not job.args and not job.inputs


def _counts(ended: Ended) -> str:
    counts = ended.status.counts
    if not counts.total:
        return ""
    text = f": {counts.done} of {counts.total} items"
    text += f", {counts.failed} failed" if counts.failed else ""
    return text + (f", {counts.skipped} skipped" if counts.skipped else "")


def _tell_results(ws: Workspace, run: Run, folder: Path, as_json: bool) -> str:
    """Where they are, as printed."""
    here = Path.cwd()
    shown = str(folder.relative_to(here) if folder.is_relative_to(here) else folder)
    if as_json:
        print_json("run", run={**_as_json(ws, run), "results": str(folder)})
    else:
        echo(shown)
    return shown


def _as_json(ws: Workspace, run: Run) -> dict[str, Any]:
    """A run in the documented form. Times are unix seconds, memory bytes, cost micro-dollars."""
    from devbox.jobs import queries, status
    from devbox.wire.codec import plain

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
        **{key: seen[key] for key in (*kept, "failures", "failures_dropped", "peak")},
    }


def _print_jobs(ws: Workspace, as_json: bool) -> None:
    from devbox.jobs import catalogue

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


def _print_runs(ws: Workspace, runs: list[Run]) -> None:
    from devbox.cli.run_view import amount
    from devbox.jobs import queries, status
    from devbox.jobs.follow import Progress
    from devbox.text import dollars, duration

    rows = [("RUN", "STATE", "PROGRESS", "TIME", "COST", "BOX", "")]
    for run in runs:
        seen = status.of(run)
        taken = status.seconds(seen, ws.clock())
        shown = amount(Progress(*seen.progress, seen.unit, "", None))
        rows.append(
            (
                run.id,
                run.state,
                shown or "–",
                duration(taken),
                dollars(queries.cost(ws, run)),
                run.box_name,
                seen.message[:60],
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(7)]
    for row in rows:
        echo(
            "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        )

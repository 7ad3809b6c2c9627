"""Verbs of jobs: run, runs, logs, attach, cancel, retry."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from devbox.cli.common import (
    approve,
    box_option,
    echo,
    json_option,
    page,
    print_json,
    provider_option,
    quiet_option,
    workspace,
    yes_option,
)
from devbox.cli.following import following
from devbox.cli.run_then import then_option
from devbox.errors import UsageError

if TYPE_CHECKING:
    from devbox.model import Batch, Run
    from devbox.spec import JobSpec
    from devbox.workspace import Workspace


class WordsAfterDashes(click.Command):
    """Everything after the first `--` belongs to the job and is never read as ours."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        at = args.index("--") if "--" in args else len(args)
        ctx.meta["devbox.words"] = args[at + 1 :]
        return super().parse_args(ctx, args[:at])


def complete_jobs(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    from devbox.jobs import catalogue

    return [n for n in catalogue.all_jobs(workspace(quiet=True).spec) if n.startswith(incomplete)]


def _complete_runs(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    store = workspace(quiet=True).store
    ids = [batch.id for batch in store.batches.latest()]
    ids += [run.id for run in store.runs.latest(parts=False)]
    return [each for each in ids if each.startswith(incomplete)]


run_argument = click.argument(
    "run_id", metavar="[RUN]", required=False, shell_complete=_complete_runs
)
_detach_option = click.option("--detach", "-d", is_flag=True, help="Return once it runs.")
_dest_option = click.option(
    "--dest", type=click.Path(path_type=Path, file_okay=False), help="Folder for the results."
)
gpus_option = click.option(
    "--gpus",
    type=click.IntRange(0, 1024),
    help="GPUs it has for itself; it waits until they are free.",
)
no_sync_option = click.option(
    "--no-sync", is_flag=True, help="Run what is on the box; do not sync up first."
)
no_setup_option = click.option("--no-setup", is_flag=True, help="Do not wait for the box's setup.")
_max_cost_option = click.option(
    "--max-cost",
    type=click.FloatRange(0, min_open=True),
    metavar="DOLLARS",
    help="Of a batch: give out nothing that would cost more.",
)


@click.command("run", cls=WordsAfterDashes)
@click.argument("job_name", metavar="[JOB]", required=False, shell_complete=complete_jobs)
@box_option("The box to run on; needed when there are several.")
@click.option("--up", is_flag=True, help="Bring the box up first, where it does not run.")
@click.option(
    "--workers",
    metavar="N|N..M",
    help="Divide it between so many boxes, NAME-1 and so on, that are brought up for it.",
)
@provider_option("Where the workers are, in place of what their table says.")
@_max_cost_option
@click.option(
    "--speculate",
    is_flag=True,
    help="Of a batch: have idle workers also do the last pieces of slow ones; the first counts.",
)
@then_option
@gpus_option
@click.option(
    "--after",
    multiple=True,
    metavar="RUN",
    shell_complete=_complete_runs,
    help="Begin once RUN, of the same box, has succeeded; may be given several times.",
)
@click.option(
    "--priority",
    metavar="low|normal|high|N",
    help="Who of those that wait is first: a higher number, -1000 to 1000.",
)
@_detach_option
@_dest_option
@no_sync_option
@no_setup_option
@yes_option
@json_option
@quiet_option
@click.pass_context
def run_command(
    ctx: click.Context,
    job_name: str | None,
    box_name: str | None,
    up: bool,
    workers: str | None,
    provider: str | None,
    max_cost: float | None,
    speculate: bool,
    then: str | None,
    gpus: int | None,
    after: tuple[str, ...],
    priority: str | None,
    detach: bool,
    dest: Path | None,
    no_sync: bool,
    no_setup: bool,
    yes: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run JOB, or a command of your own, on a box: sync up, send its inputs, follow it, fetch what
    it made.

    --then has the box pause or end itself once all runs on it have ended, however they did, also
    with this computer off. It loses no results, and waits for `devbox keep` and for who is at work.
    Without a JOB it is for the run under way; `none` takes it back.

    With --gpus or --after it waits in the queue of its box until it can begin, also with this
    computer off.

    \b
    devbox run                               which jobs there are
    devbox run track -- --help               what a job takes
    devbox run track -- --video clip.mp4
    devbox run --detach -- python train.py --lr 3
    devbox run train --up --then pause
    devbox run depth --workers 4 --then down -- --input photos
    devbox run train --gpus 1 --after prepare-20261122-151203-x7f2
    devbox run --then none

    --workers makes a batch: the job's input is divided between boxes copied from one table of
    devbox.toml, and their results are merged in results/. It is one run for `runs`, `logs`,
    `attach`, `cancel` and `retry`. With --detach all of it is given out at once.
    """
    from devbox.cli import run_report, run_then
    from devbox.cli.transfer import transfer
    from devbox.jobs import arguments, catalogue, queue, setup
    from devbox.jobs.submit import submit
    from devbox.sync import before

    ws = workspace(quiet=quiet)
    words: list[str] = ctx.meta["devbox.words"]
    _refuse_without_workers(
        workers, {"provider": provider, "max-cost": max_cost, "speculate": speculate or None}
    )
    if job_name is None and not words and up:
        raise UsageError("--up is for a run", fix="devbox run train --up --then pause")
    if job_name is None and not words and then:
        run_then.change(ws, then, box_name, as_json=as_json)
        return
    if job_name is None and not words:
        run_report.print_jobs(ws, as_json)
        return
    extra: list[str] = []
    if job_name is None:
        job, given = catalogue.ad_hoc_command(words), arguments.Parsed({}, {})
    else:
        job = catalogue.find(ws.project_of(ws.box(box_name)) if box_name else ws.spec, job_name)
        if words == ["--help"] and not takes_words(job):
            page(arguments.describe(job))
            return
        if takes_words(job):
            extra, words = words, []
        given = arguments.parse(job, words)
    job = queue.with_options(job, gpus, priority)
    name = box_name or job.box or None
    if workers:
        from devbox.cli import batch

        batch.refuse(dest, bool(gpus or after or priority))
        typed = {"": job_name, "box": box_name, "workers": workers, "then": then}
        approve(ws, "run", typed, yes=yes)
        batch.start(
            ws,
            job,
            given,
            name,
            workers=workers,
            provider=provider,
            max_cost=max_cost,
            speculate=speculate,
            then=then,
            no_sync=no_sync,
            no_setup=no_setup,
            detach=detach,
            as_json=as_json,
            quiet=quiet,
        )
        return
    run_then.plan(ws, then, name, up=up, stays=not detach)
    if up:
        approve(ws, "run", {"": job_name, "box": box_name, "up": up, "then": then}, yes=yes)
    box = run_then.bring_up(ws, name) if up else ws.box(name)
    with run_then.costing(ws, box, up=up):
        wants = queue.wanted(box, job, queue.named(ws, box, after))
        order = run_then.order(ws, then, box, stays=not detach)
        if not no_sync:
            before.send(ws, box)
        if not no_setup:
            setup.require(ws, box)
        with transfer(quiet) as tell:
            run = submit(
                ws,
                box,
                job,
                given.args,
                given.inputs,
                extra=extra,
                then=order.then if order else None,
                queue=wants,
                tell=tell,
            )
    after_start(ws, run, detach=detach, dest=dest, as_json=as_json, quiet=quiet)


@click.command("attach")
@run_argument
@click.option("--no-wait", is_flag=True, help="Fetch what it made so far, and return.")
@_dest_option
@json_option
@quiet_option
def attach_command(
    run_id: str | None, no_wait: bool, dest: Path | None, as_json: bool, quiet: bool
) -> None:
    """Follow RUN (default: the latest) to its end, then fetch what it made."""
    from devbox.cli import run_report
    from devbox.cli.transfer import transfer
    from devbox.jobs import fetch, queries

    ws = workspace(quiet=quiet)
    if (found := batch_of(ws, run_id)) and not no_wait:
        from devbox.cli import batch

        batch.refuse(dest)
        batch.see_through(ws, found, as_json=as_json, quiet=quiet)
        return
    if found:
        raise UsageError(
            f"{found.id} is a batch, whose results come while it is attached",
            fix=f"devbox attach {found.id}; Ctrl-C leaves it as it is",
        )
    if no_wait:
        run = queries.find(ws, run_id)
        with transfer(quiet) as tell:
            folder = fetch.fetch(ws, run, dest, tell=tell)
        run_report.tell_results(ws, run, folder, as_json)
        return
    run = queries.refresh(ws, [queries.find(ws, run_id)])[0]
    _follow(ws, run, after="tail", dest=dest, as_json=as_json, quiet=quiet)


@click.command("retry")
@run_argument
@_max_cost_option
@then_option
@_detach_option
@_dest_option
@no_sync_option
@no_setup_option
@json_option
@quiet_option
def retry_command(
    run_id: str | None,
    max_cost: float | None,
    then: str | None,
    detach: bool,
    dest: Path | None,
    no_sync: bool,
    no_setup: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Sync up, then run again what failed or is missing of RUN (default: the latest); what is done
    is kept."""
    from devbox.cli import run_then
    from devbox.cli.transfer import transfer
    from devbox.jobs import queries, setup
    from devbox.jobs.submit import retry
    from devbox.model import RunState
    from devbox.sync import before

    ws = workspace(quiet=quiet)
    if found := batch_of(ws, run_id):
        from devbox.cli import batch

        batch.refuse(dest)
        batch.retry(
            ws,
            found,
            max_cost=max_cost,
            then=then,
            detach=detach,
            as_json=as_json,
            quiet=quiet,
        )
        return
    _refuse_without_workers(None, {"max-cost": max_cost})
    run = queries.refresh(ws, [queries.find(ws, run_id)])[0]
    if run.batch:
        raise UsageError(
            f"{run.id} is a part of batch {run.batch}", fix=f"devbox retry {run.batch}"
        )
    box = ws.store.boxes.get(run.box_id)
    order = run_then.order(ws, then, box, stays=not detach) if box and then else None
    # One that still runs is refused, and its files stay as it found them.
    if box and not no_sync and run.state not in (RunState.QUEUED, RunState.RUNNING):
        before.send(ws, box)
    if box and not no_setup and run.job != setup.JOB:
        setup.require(ws, box)
    with transfer(quiet) as tell:
        run = retry(ws, run, then=order.then if order else None, tell=tell)
    after_start(ws, run, detach=detach, dest=dest, as_json=as_json, quiet=quiet)


@click.command("cancel")
@run_argument
@json_option
@quiet_option
def cancel_command(run_id: str | None, as_json: bool, quiet: bool) -> None:
    """End RUN (default: the latest) with everything it started; what is done is kept."""
    from devbox.cli import run_report
    from devbox.jobs import queries

    ws = workspace(quiet=quiet)
    if found := batch_of(ws, run_id):
        from devbox.cli import batch

        batch.cancel(ws, found, as_json=as_json)
        return
    run = queries.cancel(ws, queries.find(ws, run_id))
    if as_json:
        print_json("run", run=run_report.run_fields(ws, run))
    else:
        echo(f"{run.id} {run.state}")


def after_start(
    ws: Workspace, run: Run, *, detach: bool, dest: Path | None, as_json: bool, quiet: bool
) -> None:
    """After a start: leave it alone, or follow it to its end."""
    from devbox.cli import run_report
    from devbox.jobs import queue, status

    if not detach:
        ws.narrate(f"run {run.id} on {run.box_name}")
        _follow(ws, run, after="", dest=dest, as_json=as_json, quiet=quiet)
        return
    waits = queue.told(status.of(run))
    is_so = f"queued on {run.box_name}: {waits}" if waits else f"running on {run.box_name}"
    ws.narrate(f"{is_so}; follow it: devbox attach {run.id}")
    if as_json:
        print_json("run", run=run_report.run_fields(ws, run))
    else:
        echo(run.id)


def _follow(
    ws: Workspace, run: Run, *, after: str, dest: Path | None, as_json: bool, quiet: bool
) -> None:
    from devbox.cli import run_then
    from devbox.cli.run_view import watch
    from devbox.errors import Interrupted
    from devbox.jobs import status
    from devbox.jobs.follow import follow

    try:
        with following(sys.stderr):
            ended = watch(follow(ws, run, after=after), run.job, quiet=quiet, clock=ws.clock)
    except KeyboardInterrupt:
        then = {"pause": ", which pauses after it", "down": ", which stops after it"}
        raise Interrupted(
            f"detached; run {run.id} continues on {run.box_name}"
            + then.get(status.then(run) or "", ""),
            means=f"follow it again: devbox attach {run.id}",
            fix=f"to end it: devbox cancel {run.id}",
        ) from None
    assert ended is not None  # `follow` raises when it cannot continue to the end
    run_then.finish(ws, ended, dest, as_json=as_json, quiet=quiet)


def takes_words(job: JobSpec) -> bool:
    """A command without declared arguments takes the words after -- as they are."""
    return bool(job.command) and not job.args and not job.inputs


def batch_of(ws: Workspace, run_id: str | None) -> Batch | None:
    """The batch that is meant, where it is one and no run."""
    from devbox.scale import batch as batches

    return batches.find(ws, run_id)


def _refuse_without_workers(workers: str | None, options: dict[str, object]) -> None:
    for name, value in options.items():
        if value is not None and not workers:
            raise UsageError(f"--{name} is for a batch", fix="add --workers, such as --workers 4")

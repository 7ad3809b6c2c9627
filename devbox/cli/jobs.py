"""`devbox run`, and what follows the start of a run."""

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
from devbox.cli.run_options import (
    WordsAfterDashes,
    complete_jobs,
    complete_runs,
    dest_option,
    detach_option,
    gpus_option,
    max_cost_option,
    no_setup_option,
    no_sync_option,
)
from devbox.cli.run_then import then_option
from devbox.errors import UsageError

if TYPE_CHECKING:
    from devbox.model import Run
    from devbox.workspace import Workspace


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
@max_cost_option
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
    shell_complete=complete_runs,
    help="Begin once RUN, of the same box, has succeeded; may be given several times.",
)
@click.option(
    "--priority",
    metavar="low|normal|high|N",
    help="Who of those that wait is first: a higher number, -1000 to 1000.",
)
@detach_option
@dest_option
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
    refuse_without_workers(
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
        if words == ["--help"] and not job.takes_words:
            page(arguments.describe(job))
            return
        if job.takes_words:
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


def after_start(
    ws: Workspace, run: Run, *, detach: bool, dest: Path | None, as_json: bool, quiet: bool
) -> None:
    """After a start: leave it alone, or follow it to its end."""
    from devbox.cli import run_report
    from devbox.jobs import queue, status

    if not detach:
        ws.narrate(f"run {run.id} on {run.box_name}")
        follow_run(ws, run, after="", dest=dest, as_json=as_json, quiet=quiet)
        return
    waits = queue.told(status.of(run))
    is_so = f"queued on {run.box_name}: {waits}" if waits else f"running on {run.box_name}"
    ws.narrate(f"{is_so}; follow it: devbox attach {run.id}")
    if as_json:
        print_json("run", run=run_report.run_fields(ws, run))
    else:
        echo(run.id)


def follow_run(
    ws: Workspace, run: Run, *, after: str, dest: Path | None, as_json: bool, quiet: bool
) -> None:
    """Follow it to its end, then fetch what it made. after: see `devbox.jobs.follow.follow`."""
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


def refuse_without_workers(workers: str | None, options: dict[str, object]) -> None:
    """UsageError for an option of batches that was given for one run."""
    for name, value in options.items():
        if value is not None and not workers:
            raise UsageError(f"--{name} is for a batch", fix="add --workers, such as --workers 4")

"""Verbs of runs that were started: runs, logs, attach, retry, cancel."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from devbox.cli.common import (
    box_option,
    echo,
    json_option,
    print_json,
    quiet_option,
    workspace,
)
from devbox.cli.following import following
from devbox.cli.jobs import after_start, follow_run, refuse_without_workers
from devbox.cli.run_options import (
    dest_option,
    detach_option,
    max_cost_option,
    no_setup_option,
    no_sync_option,
    run_argument,
)
from devbox.cli.run_then import then_option
from devbox.errors import UsageError

if TYPE_CHECKING:
    from devbox.model import Batch
    from devbox.workspace import Workspace

_PIECE = 40_000  # characters of a fetched log that are read at once


@click.command("runs")
@box_option("Only runs on that box.")
@click.option("--limit", default=20, show_default=True, help="How many, newest first.")
@click.option("--no-refresh", is_flag=True, help="As last known, without asking boxes.")
@json_option
def runs_command(box_name: str | None, limit: int, no_refresh: bool, as_json: bool) -> None:
    """List runs, newest first. Running jobs are refreshed from their boxes."""
    from devbox.cli import batch_report, run_report
    from devbox.jobs import queries
    from devbox.model import Run
    from devbox.text_layout import table

    ws = workspace(quiet=True)
    box_id = None if box_name is None else ws.box(box_name).id
    found = batch_report.latest(ws, box_id, max(1, limit))
    if not no_refresh:
        parts = batch_report.open_parts(ws, found)
        runs = [each for each in found if isinstance(each, Run)]
        fresh = {run.id: run for run in queries.refresh(ws, [*runs, *parts])}
        found = [fresh.get(each.id, each) for each in found]
    if as_json:
        of = [
            run_report.run_fields(ws, each)
            if isinstance(each, Run)
            else batch_report.fields(ws, each)
            for each in found
        ]
        print_json("runs", runs=of)
        return
    rows = [
        run_report.row(ws, each) if isinstance(each, Run) else batch_report.row(ws, each)
        for each in found
    ]
    for line in table([run_report.HEAD, *rows]):
        echo(line)


@click.command("logs")
@run_argument
@click.option("--follow", "-f", "go_on", is_flag=True, help="Continue until the run ends.")
@box_option("What a box itself prints, as its provider keeps it.")
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
    if found := batch_of(ws, run_id):
        from devbox.cli import batch

        batch.logs(ws, found, go_on=go_on)
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


@click.command("attach")
@run_argument
@click.option("--no-wait", is_flag=True, help="Fetch what it made so far, and return.")
@dest_option
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
            f"{found.id} is a batch, and --no-wait is for a run on one box",
            means="nothing was fetched; results of a batch come as its rounds are finished, while "
            "it is attached",
            fix=f"devbox attach {found.id}; Ctrl-C leaves it, and its boxes at work",
        )
    if no_wait:
        run = queries.find(ws, run_id)
        with transfer(quiet) as tell:
            folder = fetch.fetch(ws, run, dest, tell=tell)
        run_report.tell_results(ws, run, folder, as_json)
        return
    run = queries.refresh(ws, [queries.find(ws, run_id)])[0]
    follow_run(ws, run, after="tail", dest=dest, as_json=as_json, quiet=quiet)


@click.command("retry")
@run_argument
@max_cost_option
@then_option
@detach_option
@dest_option
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
            no_sync=no_sync,
            no_setup=no_setup,
            detach=detach,
            as_json=as_json,
            quiet=quiet,
        )
        return
    refuse_without_workers(None, {"max-cost": max_cost})
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


def batch_of(ws: Workspace, run_id: str | None) -> Batch | None:
    """The batch that is meant, where it is one and no run."""
    from devbox.scale import batch as batches

    return batches.find(ws, run_id)


def _box_log(ws: Workspace, name: str, go_on: bool) -> None:
    from devbox.providers.abilities import HasRunLogs
    from devbox.text import clean

    box = ws.box(name)
    provider = ws.provider_of(box)
    if not isinstance(provider, HasRunLogs) or not box.handle:
        raise UsageError(f"{box.provider} keeps no log of {box.name}", fix="devbox events " + name)
    with following():
        for line in provider.run_logs(box.handle, follow=go_on):
            echo(clean(line, 40_000))

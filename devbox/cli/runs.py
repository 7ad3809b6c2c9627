"""Verbs that look at runs: runs, logs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from devbox.cli.common import box_option, echo, json_option, print_json, workspace
from devbox.cli.following import following
from devbox.cli.jobs import batch_of, run_argument
from devbox.errors import UsageError

if TYPE_CHECKING:
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

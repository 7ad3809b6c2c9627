"""Verbs that change a box that runs: restart, resize, renew."""

from __future__ import annotations

import click

from devbox import lifecycle
from devbox.cli.boxes import report, set_up_again, setup_stage
from devbox.cli.common import box_argument, complete_hardware, echo, print_json, typed, workspace
from devbox.cli.steps import shown
from devbox.cli.stop import ask_to_stop, stop_options
from devbox.errors import UsageError


@click.command("restart")
@box_argument()
@click.option("--factory", is_flag=True, help="Build the image again.")
@click.option("--keep-edits", is_flag=True, help="In its container: edits made there stay.")
@click.option("--folder", default="", metavar="PATH", help="Where the edited code is on the box.")
@stop_options
def restart_command(
    box_name: str | None,
    factory: bool,
    keep_edits: bool,
    folder: str,
    no_save: bool,
    fetch_ignored: bool,
    yes: bool,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Start BOX's app again. On hf-space only its volumes are kept, as by a pause.

    --keep-edits restarts the app inside its container, so that edits made on the box stay. They
    are kept as a patch first (devbox pull-edits), unless --no-save, since whatever ends the
    container takes them: a pause, sleep, a restart without --keep-edits.
    """
    ws = workspace(quiet=quiet or (as_json and keep_edits))
    box = ws.box(box_name)
    if keep_edits:
        if factory or fetch_ignored:
            raise UsageError(
                "--keep-edits keeps the container: it excludes --factory and --fetch-ignored",
                fix=f"devbox restart {typed(ws, box)} --keep-edits",
            )
        from devbox.cli.deploy import restart_in_place

        patch = restart_in_place(ws, box, folder, save=not no_save)
        if as_json:
            print_json("restart", box=box.name, state=box.state, patch=patch)
        else:
            echo(f"{box.name}  {box.state}")
        return
    ask_to_stop(ws, box, "restart", yes=yes, save=not no_save, ignored=fetch_ignored)
    save, ignored = not no_save, fetch_ignored
    with shown(ws, verbose=verbose, after=setup_stage(ws)):
        box = lifecycle.restart(ws, box, factory=factory, save=save, fetch_ignored=ignored)
        box = set_up_again(ws, box)
    report(ws, box, as_json)


@click.command("resize")
@box_argument(required=True)
@click.argument("hardware", shell_complete=complete_hardware)
@stop_options
def resize_command(
    box_name: str,
    hardware: str,
    no_save: bool,
    fetch_ignored: bool,
    yes: bool,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Move BOX to other HARDWARE of its provider (devbox offers). On hf-space only its volumes are
    kept, as by a pause."""
    ws = workspace(quiet=quiet)
    box = ws.box(box_name)
    ask_to_stop(ws, box, "resize", yes=yes, save=not no_save, ignored=fetch_ignored)
    save, ignored = not no_save, fetch_ignored
    with shown(ws, verbose=verbose, after=setup_stage(ws)):
        box = lifecycle.resize(ws, box, hardware, save=save, fetch_ignored=ignored)
        box = set_up_again(ws, box)
    report(ws, box, as_json)


@click.command("renew")
@box_argument()
@stop_options
def renew_command(
    box_name: str | None,
    no_save: bool,
    fetch_ignored: bool,
    yes: bool,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Replace a BOX that reached its provider's time limit, keeping its files."""
    ws = workspace(quiet=quiet)
    box = ws.box(box_name)
    ask_to_stop(ws, box, "renew", yes=yes, save=not no_save, ignored=fetch_ignored)
    with shown(ws, verbose=verbose, after=setup_stage(ws)):
        box = lifecycle.renew(ws, box, save=not no_save, fetch_ignored=fetch_ignored)
        box = set_up_again(ws, box)
    report(ws, box, as_json)

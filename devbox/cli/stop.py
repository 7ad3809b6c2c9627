"""Verbs that stop boxes: pause and down, one or all of them."""

from __future__ import annotations

import shlex
from contextlib import suppress

import click

from devbox import lifecycle
from devbox.cli.boxes import report
from devbox.cli.common import (
    F,
    box_argument,
    confirm,
    costing,
    echo,
    json_option,
    print_json,
    quiet_option,
    result,
    typed,
    verbose_option,
    workspace,
    yes_option,
)
from devbox.cli.steps import shown
from devbox.errors import DevboxError, Unanswered, UsageError
from devbox.model import Box, BoxState
from devbox.money import exposure
from devbox.text import clean
from devbox.workspace import Workspace

all_option = click.option(
    "--all", "everything", is_flag=True, help="Every box that this computer tracks."
)


def stop_options(function: F) -> F:
    """Those of every verb that may end a box's disk."""
    for option in (
        click.option("--no-save", is_flag=True, help="Do not fetch files first."),
        click.option(
            "--fetch-ignored", is_flag=True, help="Fetch first also what ignore files leave out."
        ),
        yes_option,
        json_option,
        quiet_option,
        verbose_option,
    ):
        function = option(function)
    return function


@click.command("pause")
@box_argument()
@all_option
@stop_options
def pause_command(
    box_name: str | None,
    everything: bool,
    no_save: bool,
    fetch_ignored: bool,
    yes: bool,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Stop paying for BOX's hardware, after fetching what `sync.down` names.

    \b
    What a pause keeps:
      local, docker, ssh   its files
      modal                its files, in a snapshot, for 30 days
      hf-space             only its volumes: says first what would be lost,
                           asks, and fetches what `sync.down` names, or without
                           it what is synced and newer or only there
      hf-job               cannot be paused

    --all is for every box that this computer tracks, of all projects: it says what each costs and
    loses, and asks once. One that cannot be paused is named at the end (exit code 17).
    """
    ws = workspace(quiet=quiet)
    if everything:
        _refuse_name(box_name, "pause")
        _all(ws, "pause", yes=yes, save=not no_save, ignored=fetch_ignored, as_json=as_json)
        return
    box = ws.box(box_name)
    ask_to_stop(ws, box, "pause", yes=yes, save=not no_save, ignored=fetch_ignored)
    with shown(ws, verbose=verbose):
        box = lifecycle.pause(ws, box, save=not no_save, fetch_ignored=fetch_ignored)
    report(ws, box, as_json)


@click.command("down")
@box_argument()
@stop_options
@all_option
@click.option("--forget", is_flag=True, help="Give up on it when its end cannot be confirmed.")
def down_command(
    box_name: str | None,
    everything: bool,
    yes: bool,
    no_save: bool,
    fetch_ignored: bool,
    forget: bool,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """End BOX permanently, with its files.

    Compares its home folder with this computer first, names what is not here, asks, and fetches
    what `sync.down` names, or without it what is synced and newer or only there. --fetch-ignored
    fetches also what ignore files leave out, such as weights.

    --forget is for a box whose machine or account is gone permanently: it is ended if that is still
    possible, and else no longer tracked. It fetches nothing. Says first what that loses, and what
    may continue without devbox.

    --all is for every box that this computer tracks, of all projects, paused ones too: it says what
    each costs and loses, and asks once.
    """
    ws = workspace(quiet=quiet)
    if everything and forget:
        raise UsageError("--all and --forget exclude each other", fix="devbox down --help")
    if everything:
        _refuse_name(box_name, "down")
        _all(ws, "down", yes=yes, save=not no_save, ignored=fetch_ignored, as_json=as_json)
        return
    box = ws.box(box_name)
    if box.state.is_over:
        box = lifecycle.observe_now(ws, box)  # one that was lost may be there again
    if not box.state.is_over and forget:
        for line in (*_lost(ws, box), *lifecycle.warnings(ws, box)):
            echo(line, err=True)
        confirm(f"End {box.name}, or give up on it?", yes=yes)
        with shown(ws, verbose=verbose):
            box = lifecycle.forget(ws, box)
        if box.state == "lost" and not as_json:
            result(f"{box.name}  {box.state}  {box.message}")
            return
    elif not box.state.is_over:
        ask_to_stop(ws, box, "down", yes=yes, save=not no_save, ignored=fetch_ignored)
        with shown(ws, verbose=verbose):
            box = lifecycle.down(ws, box, save=not no_save, fetch_ignored=fetch_ignored)
    report(ws, box, as_json)


def ask_to_stop(
    ws: Workspace, box: Box, verb: str, *, yes: bool, save: bool, ignored: bool
) -> None:
    """Say what the stop loses and ask, where it ends the files of the box or the box itself."""
    if ignored and not save:
        raise UsageError(
            "--no-save and --fetch-ignored exclude each other", fix=f"devbox {verb} --help"
        )
    with shown(ws):
        stop = lifecycle.before_stop(ws, box, verb, save=save, ignored=ignored)
    for line in stop.lines:
        echo(line, err=True)
    if stop.question:
        confirm(stop.question, yes=yes)


def _all(ws: Workspace, verb: str, *, yes: bool, save: bool, ignored: bool, as_json: bool) -> None:
    """Pause or end every box that is tracked here, of all projects, asked once. One that fails
    holds up no other; Unanswered names them."""
    boxes = [box for box in ws.store.boxes.all() if verb == "down" or _may_cost(ws, box)]
    failed: dict[str, str] = {}
    for box in boxes:
        echo(f"{box.qualified}: {box.state}, costing {costing(exposure.of(ws, box))}", err=True)
        try:
            with shown(ws):
                stop = lifecycle.before_stop(ws, box, verb, save=save, ignored=ignored)
        except DevboxError as error:
            failed[box.id] = error.what
            echo(f"  left as it is, since it could not be looked at: {error.what}", err=True)
            continue
        for line in (stop.means, *stop.lines):
            echo(f"  {line}", err=True)
    todo = [box for box in boxes if box.id not in failed]
    if todo:
        what = "the box" if len(todo) == 1 else f"these {len(todo)} boxes"
        confirm(f"{verb.capitalize()} {what}?", yes=yes, again=f"devbox {verb} --all")
    done = []
    for box in todo:
        try:
            with shown(ws):
                work = lifecycle.pause if verb == "pause" else lifecycle.down
                done.append(work(ws, box, save=save, fetch_ignored=ignored))
        except DevboxError as error:
            failed[box.id] = error.what
            echo(f"{box.qualified}: {error.render()}", err=True)
    left = [box for box in boxes if box.id in failed]
    if as_json:
        stopped = [{"id": box.id, "name": box.name, "state": box.state} for box in done]
        others = [{"id": box.id, "name": box.name, "what": failed[box.id]} for box in left]
        print_json("stopped", boxes=stopped, failed=others)
    for box in () if as_json else done:
        result(f"{box.qualified}  {box.state}  costing: {costing(exposure.of(ws, box))}")
    if not boxes and not as_json:
        result(f"there is no box to {verb}" if verb == "pause" else "there is no box to end")
    if left:
        raise Unanswered(
            f"{len(left)} of {len(boxes)} did not stop: "
            + ", ".join(box.qualified for box in left),
            means="; ".join(f"{box.qualified}: {exposure.of(ws, box).sentence}" for box in left),
            fix="; ".join(f"devbox {verb} {typed(ws, box)}" for box in left[:5]),
        )


def _refuse_name(name: str | None, verb: str) -> None:
    if name:
        raise UsageError(
            f"--all is every box, and {clean(name, 60)!r} is one",
            means="nothing was done",
            fix=f"devbox {verb} --all, or devbox {verb} {shlex.quote(name)}",
        )


def _may_cost(ws: Workspace, box: Box) -> bool:
    """What a pause is for: a box that runs, or that costs or may come to."""
    if box.state is BoxState.PAUSED:
        return False
    return box.state is BoxState.RUNNING or not exposure.of(ws, box).is_nothing


def _lost(ws: Workspace, box: Box) -> list[str]:
    """What the end of a box that is given up on loses, as far as anybody answers."""
    with suppress(DevboxError):
        found = lifecycle.unsaved_data(ws, box, save=False)
        return found.lines() if found else []
    return []

"""`devbox checkpoints ls|pull|verify|push`: model weights of devbox.toml, here or on a box."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from devbox.cli import common
from devbox.cli.common import echo, json_option, print_json, quiet_option, workspace

if TYPE_CHECKING:
    from devbox.checkpoints.access import Access
    from devbox.checkpoints.requests import Tell
    from devbox.spec import Checkpoint
    from devbox.wire.checkpoints import CheckpointState
    from devbox.workspace import Workspace

_BAD = ("missing", "partial", "wrong", "failed")
_names = click.argument("names", metavar="[NAME]...", nargs=-1)
_box = click.option("--box", "box_name", help="On that box; without it on this computer.")
_dir = click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder on this computer (default: in devbox's own).",
)


@click.group("checkpoints", invoke_without_command=False)
def checkpoints_command() -> None:
    """Model weights of [checkpoints.NAME] in devbox.toml.

    \b
    devbox checkpoints ls                   licences, and what you may read
    devbox checkpoints pull --box dev       fetch them before a job needs them
    devbox checkpoints verify sam3          by the hashes of devbox.toml
    devbox checkpoints push sam3 --box dev  a file to its gs:// or hf:// source
    """


@checkpoints_command.command("ls")
@_names
@_box
@_dir
@click.option("--no-ask", is_flag=True, help="Do not ask the Hub about gated ones.")
@json_option
def ls(
    names: tuple[str, ...], box_name: str | None, folder: Path | None, no_ask: bool, as_json: bool
) -> None:
    """List checkpoints: source, what is there, licence, access."""
    from devbox.checkpoints import access

    ws, wanted, states = _ask("list", names, box_name, folder, quiet=True)
    may = {} if no_ask else access.of_gated(ws.spec, wanted)
    if as_json:
        rows = [_fields(state, wanted[state.name], may.get(state.name)) for state in states]
        print_json("checkpoints", checkpoints=rows)
        return
    _print(states, wanted, may)


@checkpoints_command.command("verify")
@_names
@_box
@_dir
@json_option
def verify(
    names: tuple[str, ...], box_name: str | None, folder: Path | None, as_json: bool
) -> None:
    """Read the files and compare them with devbox.toml. Exit code 18 when one is missing or
    wrong; the hash of one that has none in devbox.toml is printed."""
    _, wanted, states = _ask("verify", names, box_name, folder)
    _end(states, wanted, as_json)


@checkpoints_command.command("pull")
@_names
@_box
@_dir
@click.option("--detach", "-d", is_flag=True, help="On a box: return once it runs.")
@json_option
@quiet_option
def pull(
    names: tuple[str, ...],
    box_name: str | None,
    folder: Path | None,
    detach: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Fetch what is missing, and check all. On a box it is a run: it continues without this
    computer. What was cut off continues where it was."""
    from devbox.checkpoints import access, requests

    ws = workspace(quiet=quiet)
    if box_name is None:
        wanted = requests.chosen(ws.spec, names)
        for each in access.of_gated(ws.spec, wanted).values():
            if not each.allowed:
                ws.narrate(each.sentence)
        with _progress(quiet, wanted) as tell:
            states = requests.here(
                ws.spec.root, "pull", wanted, folder or requests.folder_here(), tell=tell
            )
        _end(states, wanted, as_json)
        return
    from devbox.cli.jobs import after_start
    from devbox.cli.transfer import transfer
    from devbox.jobs.submit import submit
    from devbox.spec import JobSpec

    box = ws.box(box_name)
    wanted = requests.chosen(ws.project_of(box), names)
    job = JobSpec(name="checkpoints", command=("true",), checkpoints=tuple(wanted))
    with transfer(quiet) as tell_sent:
        run = submit(ws, box, job, {}, {}, tell=tell_sent)
    after_start(ws, run, detach=detach, dest=None, as_json=as_json, quiet=quiet)


@checkpoints_command.command("push")
@click.argument("name")
@_box
@_dir
@click.option("--replace", is_flag=True, help="Also over another content that is there.")
@json_option
def push(
    name: str, box_name: str | None, folder: Path | None, replace: bool, as_json: bool
) -> None:
    """Put the file of checkpoint NAME into its gs:// or hf:// source. Refused unless it is what
    devbox.toml says of it."""
    _, wanted, states = _ask("push", (name,), box_name, folder, replace=replace)
    _end(states, wanted, as_json)


def _ask(
    action: str,
    names: tuple[str, ...],
    box_name: str | None,
    folder: Path | None,
    *,
    replace: bool = False,
    quiet: bool = False,
) -> tuple[Workspace, dict[str, Checkpoint], tuple[CheckpointState, ...]]:
    from devbox.checkpoints import requests

    ws = workspace(quiet=quiet)
    if box_name is None:
        wanted = requests.chosen(ws.spec, names)
        place = folder or requests.folder_here()
        return ws, wanted, requests.here(ws.spec.root, action, wanted, place, replace=replace)
    from devbox.remote.preconditions import check_running

    box = ws.box(box_name)
    check_running(box)
    wanted = requests.chosen(ws.project_of(box), names)
    return ws, wanted, requests.on_box(box, action, wanted, replace=replace)


def _end(states: tuple[CheckpointState, ...], wanted: dict[str, Checkpoint], as_json: bool) -> None:
    from devbox.errors import CheckFailed

    if as_json:
        rows = [_fields(state, wanted[state.name], None) for state in states]
        print_json("checkpoints", checkpoints=rows)
    else:
        _print(states, wanted, {})
    bad = [state for state in states if state.state in _BAD]
    if bad:
        said = "; ".join(
            state.message or f"checkpoint {state.name} is {state.state}: {state.path}"
            for state in bad
        )
        fix = "devbox checkpoints pull" if bad[0].state in ("missing", "partial") else ""
        raise CheckFailed(said, means="no other file was changed", fix=fix)


def _print(
    states: tuple[CheckpointState, ...],
    wanted: dict[str, Checkpoint],
    may: dict[str, Access],
) -> None:
    from devbox.box.checkpoints.source import shown
    from devbox.text import size

    for state in states:
        each = wanted[state.name]
        expected = each.bytes or each.size
        held = size(state.bytes) if state.bytes else size(expected) if expected else ""
        parts = [state.name, state.state, held, each.licence, shown(each.origin)]
        echo("  ".join(part for part in parts if part))
        if state.state not in ("missing", "failed"):
            echo(f"    {state.path}")
        if state.sha256 and not each.sha256:
            echo(f'    its sha256, for devbox.toml: "{state.sha256}"')
        if state.message:
            echo(f"    {state.message}")
        if state.name in may and not may[state.name].allowed:
            echo(f"    {may[state.name].sentence}")


def _fields(state: CheckpointState, each: Checkpoint, may: Access | None) -> dict[str, object]:
    from devbox.box.checkpoints.source import shown

    return {
        **state._asdict(),
        "source": shown(each.origin),
        "licence": each.licence,
        "page": each.page,
        "gated": each.gated,
        "allowed": may.allowed if may else None,
    }


@contextmanager
def _progress(quiet: bool, wanted: dict[str, Checkpoint]) -> Iterator[Tell | None]:
    """What to call with the progress; None when quiet."""
    from devbox.wire.checkpoints import CheckpointProgress

    redraws, drawn = common.is_interactive(), False

    def show(now: CheckpointProgress) -> None:
        nonlocal drawn
        if common.events:
            each = wanted.get(now.name)
            common.events.write(progress=[now.done, each.bytes if each else None], note=now.note)
        elif redraws:
            drawn = True
            sys.stderr.write(f"\r{now.note[:78]:<78}")
            sys.stderr.flush()
        else:
            common.narrate(now.note)

    tell: Callable[[CheckpointProgress], None] | None = None if quiet else show
    try:
        yield tell
    finally:
        if drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

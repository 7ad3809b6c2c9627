"""`devbox sync up|down|watch|status`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TypedDict, Unpack

import click

from devbox.cli import common
from devbox.cli.common import box_argument, echo, json_option, quiet_option, yes_option
from devbox.cli.following import following

if TYPE_CHECKING:
    from devbox.sync.rsync import Report
    from devbox.sync.status import Difference

#: How many names a list shows before it says how many more there are.
_SHOWN = 20
_EXAMPLES = """\b
Examples:
  devbox sync up                   send what changed
  devbox sync down --dry-run       what would come down
  devbox sync up --delete          also remove there what you removed here
  devbox sync watch                send each save at once
"""


@click.group("sync", epilog=_EXAMPLES)
def sync_command() -> None:
    """Keep files in step: up, down, watch, status.

    What is left out: .git, virtual environments, caches, secrets such as .env, whatever
    .gitignore, git's other exclude files and .dockerignore name (files that git tracks are sent
    all the same), and `exclude` in the box's sync table of devbox.toml; `include` there wins.
    """


class _Options(TypedDict):
    """What `_transfer_options` gives, but the box."""

    paths: tuple[str, ...]
    dry_run: bool
    delete: bool
    force: bool
    yes: bool
    quiet: bool
    as_json: bool


def _transfer_options(function: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--path", "paths", multiple=True, help="Only this file or folder."),
        click.option("--dry-run", "-n", is_flag=True, help="Change nothing; say what would be."),
        click.option("--delete", is_flag=True, help="Also delete, after showing what."),
        click.option("--force", is_flag=True, help="The sending side wins every difference."),
        yes_option,
        quiet_option,
        json_option,
        box_argument(),
    ):
        function = option(function)
    return function


@sync_command.command("up")
@_transfer_options
def up(box_name: str | None, **given: Unpack[_Options]) -> None:
    """Send what changed here to the box."""
    _transfer("up", box_name, **given)


@sync_command.command("down")
@click.option("--before-pause", is_flag=True, hidden=True)
@_transfer_options
def down(box_name: str | None, before_pause: bool, **given: Unpack[_Options]) -> None:
    """Fetch what changed on the box. Your own edits stay and are listed. Files that programs here
    act on, such as .vscode, stay on the box unless named."""
    if before_pause:  # what a pause that the box's watchdog announced would lose
        from devbox import lifecycle

        ws = common.workspace(quiet=given["quiet"])
        box = ws.box(box_name)
        lifecycle.save_before_watchdog_pause(ws, box)
        ws.narrate(f"fetched from {box.name} before its pause")
        return
    _transfer("down", box_name, **given)


@sync_command.command("watch")
@click.option("--delete", is_flag=True, help="A file you delete is deleted on the box too.")
@quiet_option
@json_option
@box_argument()
def watch(box_name: str | None, delete: bool, quiet: bool, as_json: bool) -> None:
    """Send what changed, then each save at once, until Ctrl-C. When the box warns that it will
    pause, what `sync.down` names is fetched before it does, and where the pause keeps no disk
    what is synced."""
    from devbox import lifecycle
    from devbox.sync.watch import Event
    from devbox.sync.watch import watch as start

    ws = common.workspace(quiet=quiet)
    box = ws.box(box_name)

    def on_event(event: Event) -> None:
        if as_json:
            common.print_json("sync-event", box=box.name, **event._asdict())
        elif not quiet:
            common.narrate(_event_line(event, box.name))

    with following(sys.stdout if as_json else sys.stderr), lifecycle.save_on_warning(ws, box):
        start(ws, box, on_event, delete=delete)


@sync_command.command("status")
@quiet_option
@json_option
@box_argument()
def status(box_name: str | None, quiet: bool, as_json: bool) -> None:
    """What the box has that you don't, and the other way round."""
    from devbox.sync.status import status as compare

    ws = common.workspace(quiet=quiet)
    found = compare(ws, ws.box(box_name))
    if as_json:
        common.print_json("sync-status", **{f: getattr(found, f) for f in found.__struct_fields__})
        return
    for line in _status_lines(found):
        echo(line)


def _transfer(
    direction: str,
    box_name: str | None,
    *,
    paths: tuple[str, ...],
    dry_run: bool,
    delete: bool,
    force: bool,
    yes: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    from devbox.cli.transfer import transfer
    from devbox.sync import rsync

    ws = common.workspace(quiet=quiet)
    box = ws.box(box_name)
    with transfer(quiet) as tell:
        options = rsync.Options(
            paths=paths,
            dry_run=dry_run,
            delete=delete,
            force=force,
            approve=lambda names: _approve(names, direction, box.name, yes),
            on_progress=tell,
        )
        report = (rsync.up if direction == "up" else rsync.down)(ws, box, options)
    if as_json:
        fields = {f: getattr(report, f) for f in report.__struct_fields__}
        common.print_json("sync", **fields)
    else:
        _tell(report, quiet)
    _raise_conflicts(report)


def _approve(names: tuple[str, ...], direction: str, box: str, yes: bool) -> bool:
    where = f"on {box}" if direction == "up" else "here"
    common.narrate(f"to delete {where} ({len(names)}):")
    for name in names:
        common.narrate(f"  {name}")
    common.confirm(f"Delete {_files(len(names))} {where}?", yes=yes)
    return True


def _tell(report: Report, quiet: bool) -> None:
    from devbox.text import duration, size

    if report.missing:
        common.narrate(f"{report.box} has no folder {report.folder} yet: nothing to fetch")
        return
    would = "would be " if report.dry_run else ""
    verb = "sent" if report.direction == "up" else "fetched"
    if report.dry_run:
        for name in report.moved:
            echo(name)
        for name in report.deleted:
            echo(f"delete {name}")
    if quiet:
        return
    parts = [f"{_files(len(report.moved))} ({size(report.bytes)}) {would}{verb}"]
    parts += [f"{_files(len(report.deleted))} {would}deleted"] if report.deleted else []
    parts += [f"connection lost {report.retries}x, continued"] if report.retries else []
    took = "" if report.dry_run else f" in {duration(report.seconds)}"
    common.result(f"{report.box}: {', '.join(parts)}{took}", err=True)
    if report.secrets:
        common.narrate(f"not sent, they look like secrets: {_some(report.secrets)}")
        common.narrate("  to send one: include = [...] in the sync table of devbox.toml")
    if report.kept:
        side = f"on {report.box}" if report.direction == "up" else "here"
        common.narrate(f"kept {side} ({len(report.kept)}):")
        for kept in report.kept[:_SHOWN]:
            common.narrate(f"  {kept.path}: {kept.why}")
        if len(report.kept) > _SHOWN:
            common.narrate(f"  and {len(report.kept) - _SHOWN} more")


def _raise_conflicts(report: Report) -> None:
    """Files changed on both sides need a user: exit code 5 once everything else is done."""
    from devbox.errors import Conflict
    from devbox.sync.compare import BOTH

    both = [kept.path for kept in report.kept if kept.why == BOTH]
    if both and not report.dry_run:
        these = " --path ".join(shlex.quote(path) for path in both[:_SHOWN])
        raise Conflict(
            f"changed here and on {report.box}: {_some(both)}",
            means="yours are untouched here and the box's there; the others were fetched",
            fix=f"take the box's: devbox sync down --force --path {these} {report.box}; "
            f"or send yours: devbox sync up --force --path {these} {report.box}",
        )


def _status_lines(found: Difference) -> list[str]:
    from devbox.text import size

    if found.in_step and not found.ignored_there:
        return [f"the synced files of {found.box} and {found.root} are in step"]
    lines: list[str] = []
    for title, files in (
        (f"only on {found.box} (devbox sync down)", found.only_there),
        ("only here (devbox sync up)", found.only_here),
        (f"on {found.box}, but ignored by your ignore files", found.ignored_there),
    ):
        if files:
            total = size(sum(file.size for file in files))
            lines.append(f"{title}: {_files(len(files))}, {total}")
            lines += [f"  {file.path}  {size(file.size)}" for file in files[:_SHOWN]]
            lines += [f"  and {len(files) - _SHOWN} more"] if len(files) > _SHOWN else []
    if found.differing:
        lines.append(f"not the same: {_files(len(found.differing))}")
        lines += [
            f"  {each.path}  newer {'here' if each.newer == 'here' else 'on ' + found.box}"
            for each in found.differing[:_SHOWN]
        ]
        more = len(found.differing) - _SHOWN
        lines += [f"  and {more} more"] if more > 0 else []
    return lines


def _event_line(event: object, box: str) -> str:
    from devbox.sync.watch import Event

    assert isinstance(event, Event)
    names = _some(event.paths)
    return {
        "ready": f"{box} is up to date; watching for saves (Ctrl-C ends it)",
        "sent": f"sent {names} ({event.seconds * 1000:.0f} ms)",
        "deleted": f"deleted on {box}: {names}",
        "kept": f"deleted here, still on {box}: {names} (watch --delete deletes there too)",
        "lost": f"connection to {box} lost",
        "back": f"connection to {box} is back",
    }[event.kind]


def _some(names: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


def _files(count: int) -> str:
    return f"{count:,} file" + ("" if count == 1 else "s")

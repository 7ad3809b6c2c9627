"""What a person would lose by a pause or an end, and fetching it first."""

from __future__ import annotations

from devbox import spec
from devbox.errors import DevboxError
from devbox.model import Box, BoxState
from devbox.ssh.connection import connect
from devbox.telemetry import arming
from devbox.text import clean
from devbox.workspace import Workspace

_SHOWN = 10


def save(ws: Workspace, box: Box) -> None:
    """Fetch what the sync rules name (`[boxes.NAME.sync] down`) and the results of runs that were
    never fetched, before the box stops.

    Raises SyncError when that fails: the caller must not stop the box on top of it unless asked.
    """
    rules = spec.decode_box(box.spec).sync
    if box.state is not BoxState.RUNNING or not rules.before_pause or spec.is_headless(box):
        return
    if rules.down:
        from devbox.sync import rsync  # why here: `up` needs none of it

        ws.narrate(f"{box.name}: fetching {', '.join(rules.down)}")
        rsync.down(ws, box)
    if box.name in ws.spec.boxes or box.project == ws.spec.project:
        from devbox.jobs import fetch, unfetched

        for run in unfetched.look(ws, box).made:
            ws.narrate(f"{box.name}: fetching the results of run {run.id}")
            fetch.fetch(ws, run)


def rescue(ws: Workspace, box: Box) -> None:
    """Fetch what a pause that was announced would lose, without calling that pause off. For
    whoever follows a box (the dashboard, `sync watch`) when its watchdog warns."""
    rules = spec.decode_box(box.spec).sync
    if not rules.before_pause:
        return
    with connect(box) as connection, arming.syncing(connection):
        save(ws, box)


def save_or_stop(ws: Workspace, box: Box, verb: str) -> None:
    """`save`, or an error that says the box was left running for the sake of its files. verb: what
    the person typed, with {} where the box's name goes."""
    try:
        save(ws, box)
    except DevboxError as error:
        raise DevboxError(
            f"{box.name}: its files could not be fetched: {error.what}",
            means="it was left running, so that nothing is lost, and it is still costing",
            fix=f"try again, or go on without them: devbox {verb.format(box.name)} --no-save",
        ) from error
    if not verb.startswith("down ") and ws.provider_of(box).ephemeral_disk:
        ws.narrate(f"{box.name}: files outside volumes do not outlive this ({box.provider})")
        for line in losses(ws, box):
            ws.narrate(line)


def losses(ws: Workspace, box: Box) -> list[str]:
    """Lines that say what is on the box and not on this computer. A box that is paused or cannot
    be reached says that this is unknown."""
    if box.state is not BoxState.RUNNING:
        return [f"{box.name} is {box.state}: what is on it and not here is unknown"]
    if spec.is_headless(box):
        return [f"{box.name}: its command is cut off, and what it kept only there is lost"]
    from devbox.jobs import unfetched  # why here: `up` needs none of it
    from devbox.sync import status

    try:
        only_there, runs = status.status(ws, box).only_there, unfetched.look(ws, box)
    except DevboxError as error:
        return [f"{box.name}: what is on it and not here is unknown: {error.what}"]
    lines = [f"{box.name}: run {run.id} has not ended: this ends it" for run in runs.running]
    lines += [
        f"{box.name}: the results of run {run.id} were never fetched (devbox attach {run.id})"
        for run in runs.made[:_SHOWN]
    ]
    if len(runs.made) > _SHOWN:
        lines.append(f"  … nor those of {len(runs.made) - _SHOWN} more (devbox runs)")
    if not only_there:
        there = "every other file" if runs.made else "every file"
        return [*lines, f"{box.name}: {there} on it is also on this computer"]
    lines.append(f"{box.name}: {len(only_there)} files on it are not on this computer:")
    lines += [f"  {clean(file.path, 200)}" for file in only_there[:_SHOWN]]
    if len(only_there) > _SHOWN:
        lines.append(f"  … and {len(only_there) - _SHOWN} more (devbox sync status {box.name})")
    return lines

"""What the end of a box's disk would lose, and fetching it first: one list for every verb that
ends it, for the watchdog's warning, the dashboard and `status`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from devbox import spec
from devbox.errors import DevboxError, SshError, UsageError
from devbox.model import Box, BoxState
from devbox.providers.base import CanPause, CanRenew, CanResize, CanRestart
from devbox.remote.connection import connect
from devbox.telemetry import arming
from devbox.text import clean, counted, duration, size
from devbox.workspace import Workspace

if TYPE_CHECKING:
    from devbox.sync.unsaved import Group, Kind

SHOWN = 10
_LAST_WORDS = ("saved", "save-failed", "pausing", "paused")
#: kind of group → (what its files are, how they are fetched when the save does not)
_TOLD: Mapping[Kind, tuple[str, str]] = {
    "only": ("only on it", "devbox sync down {box}"),
    "edited": ("newer on it than here", "devbox sync down {box}"),
    "conflict": ("changed on it and here", "devbox sync down {box} --force --path {file}"),
    "unnamed": (
        "synced, but not named by sync.down",
        "add them to down in devbox.toml, then: devbox sync down {box}",
    ),
    "held": (
        "held back, because programs here act on such files",
        "devbox sync down {box} --path {file}",
    ),
    "ignored": (
        "left out of syncs by ignore files, `exclude` or as secrets",
        "--fetch-ignored fetches these",
    ),
    "links": ("links that lead out of the folder", "make them again here"),
    "outside": ("outside the synced folder", "copy what you want: scp {alias}:{file} ."),
}
_FETCHED = ("only", "edited")
#: verb → what its provider must be able to do
_NEEDS: Mapping[str, type] = {
    "pause": CanPause,
    "restart": CanRestart,
    "resize": CanResize,
    "renew": CanRenew,
}


class Losses(msgspec.Struct, frozen=True):
    """What a stop that ends the disk of `box` costs in data. running, unfetched: ids of runs that
    it cuts off, and whose results are on the box alone. groups: files, by why they are not here.
    compared: says which files were looked at. unknown: why they could not be. saved: the kinds of
    group that are fetched before the stop, with the results of runs when `runs_saved`."""

    box: str
    alias: str = ""
    running: tuple[str, ...] = ()
    unfetched: tuple[str, ...] = ()
    groups: tuple[Group, ...] = ()
    compared: str = ""
    unknown: str = ""
    saved: tuple[str, ...] = ()
    runs_saved: bool = False

    @property
    def left(self) -> int:
        """Files that the stop loses although it saves first."""
        return sum(group.count for group in self.groups if group.kind not in self.saved)

    def lines(self) -> list[str]:
        """For the question before the stop."""
        lines = [f"{self.box}: run {run} has not ended: this ends it" for run in self.running]
        lines += self._runs()
        for group in self.groups:
            lines += self._group(group)
        if self.unknown:
            lines.append(f"{self.box}: {self.unknown}")
        elif self.compared and not self.groups:
            lines.append(f"{self.box}: found no file that is not here; {self.compared}")
        elif self.compared:
            lines.append(f"  {self.compared}")
        return lines

    def _runs(self) -> list[str]:
        how = "fetched first" if self.runs_saved else "devbox attach {}"
        lines = [
            f"{self.box}: the results of run {run} were never fetched ({how.format(run)})"
            for run in self.unfetched[:SHOWN]
        ]
        more = len(self.unfetched) - SHOWN
        return [*lines, f"  … nor those of {more} more (devbox runs)"] if more > 0 else lines

    def _group(self, group: Group) -> list[str]:
        what, how = _TOLD[group.kind]
        least = "" if group.complete else "at least "
        noun = "file" if group.count == 1 else "files"
        if group.kind in self.saved:
            end = "fetched first"
        else:
            file = shlex.quote(group.largest[0].path if group.largest else ".")
            end = "NOT fetched: " + how.format(box=self.box, alias=self.alias, file=file)
        lines = [f"{self.box}: {least}{group.count} {noun} {what}, {size(group.bytes)} ({end})"]
        lines += [f"  {clean(f.path, 200)}  {size(f.size)}" for f in group.largest[:SHOWN]]
        more = group.count - min(SHOWN, len(group.largest))
        return [*lines, f"  … and {more} more"] if more else lines


def unsaved_data(
    ws: Workspace, box: Box, verb: str = "down", *, save: bool = True, ignored: bool = False
) -> Losses | None:
    """What `verb` on the box as it is now would lose, asked of the box; None when it keeps the
    files, cuts off no run and is no end, or when its provider cannot do it. save: the verb fetches
    first what the rules name; ignored: and what they leave out."""
    if verb in _NEEDS and not isinstance(ws.provider_of(box), _NEEDS[verb]):
        return None
    found = _looked(ws, box, disk=ends_disk(ws, box, verb))
    if not ends_disk(ws, box, verb) and verb != "down" and not found.running:
        return None
    rules = spec.decode_box(box.spec).sync
    if not save:
        return found
    saved = (*(_FETCHED if rules.before_pause else ()), *(("ignored",) if ignored else ()))
    return msgspec.structs.replace(found, saved=saved, runs_saved=rules.before_pause)


def lost_by_pause(ws: Workspace, box: Box) -> str:
    """What the pause that a box is in lost, as far as is known here; '' where it keeps the disk."""
    if box.state is not BoxState.PAUSED or not ends_disk(ws, box, "pause"):
        return ""
    from devbox.sync import baseline

    kept = ws.provider_of(box).pause_keeps(spec.decode_box(box.spec)).words
    begun = max((each.start for each in ws.store.ledger.of_box(box.id)), default=box.created)
    told = [
        event.message
        for event in ws.store.events.of_box(box.id, limit=50)
        if event.kind in _LAST_WORDS and event.at >= begun
    ]
    if told:
        return f"the pause kept {kept}; its watchdog's last count: {told[-1]}"
    last = baseline.last(box)
    since = f"after the last sync {duration(ws.clock() - last)} ago" if last else "there"
    return f"the pause kept {kept}: what changed on it {since} is lost unless in a volume"


_ASKED = {"resize": "Change the hardware of {}", "renew": "Replace {} by a successor"}


def question(ws: Workspace, box: Box, verb: str, found: Losses) -> str:
    """The question to ask before `verb`, after the lines of what it loses."""
    provider, wanted = ws.provider_of(box), spec.decode_box(box.spec)
    noun = "file" if found.left == 1 else "files"
    lost = f", losing {found.left} {noun}" if found.left else ""
    if verb == "down":
        return f"End {box.name} and {provider.end_means(wanted)}{lost}?"
    kept = provider.pause_keeps(wanted).words
    asked = _ASKED.get(verb, f"{verb.capitalize()} {{}}").format(box.name)
    return f"{asked}? It keeps {kept}{lost}."


def ends_disk(ws: Workspace, box: Box, verb: str) -> bool:
    """Whether files of the box's own disk are gone after `verb`: down, or one that stops it for a
    while (pause, restart, hardware, succeed)."""
    provider, wanted = ws.provider_of(box), spec.decode_box(box.spec)
    if verb == "down":
        return provider.end_deletes
    return not provider.pause_keeps(wanted).disk


def save(ws: Workspace, box: Box, *, whole: bool = False, ignored: bool = False) -> None:
    """Fetch before the box stops: what `[boxes.NAME.sync] down` names, and the results of runs
    that were never fetched. whole: where that table names nothing, all that is synced. ignored:
    also what ignore files leave out.

    Raises SyncError when that fails: the caller must not stop the box on top of it unless asked.
    """
    rules = spec.decode_box(box.spec).sync
    if box.state is not BoxState.RUNNING or spec.is_headless(box):
        return
    if not (rules.before_pause or ignored):
        return
    if rules.down or whole or ignored:
        _fetch(ws, box, ignored=ignored)
    if not rules.before_pause:
        return
    from devbox.jobs import fetch, unfetched

    for run in unfetched.look(ws, box).made:
        ws.narrate(f"{box.name}: fetching the results of run {run.id}")
        fetch.fetch(ws, run)


def is_saved_before_pause(ws: Workspace, box: Box) -> bool:
    """Whether files and run results are fetched when the watchdog announces a pause: the spec does
    not rule it out, and the folder they belong to is known."""
    known = bool(box.root) or ws.here.has(box)
    return known and not spec.is_headless(box) and spec.decode_box(box.spec).sync.before_pause


def save_before_watchdog_pause(ws: Workspace, box: Box) -> None:
    """Fetch what a pause that was announced would lose or lock away, without calling that pause
    off. For what follows a box (the dashboard, `sync watch`) when its watchdog warns."""
    if is_saved_before_pause(ws, box):
        with connect(box) as connection, arming.syncing(connection):
            save(ws, box, whole=ends_disk(ws, box, "pause"))


def save_or_raise(ws: Workspace, box: Box, verb: str, *, ignored: bool = False) -> None:
    """`save`, or an error that says the box was left running for the sake of its files. verb: what
    the user typed, with {} where the box's name goes."""
    whole = ends_disk(ws, box, verb.split(maxsplit=1)[0])
    try:
        save(ws, box, whole=whole, ignored=ignored)
    except DevboxError as error:
        if not ignored and _may_pass(ws, box, error):
            ws.narrate(f"{box.name}: its files were not looked at: {error.what}")
            return
        raise DevboxError(
            f"{box.name}: its files could not be fetched: {error.what}",
            means="it was left running because of its files, and it is still costing",
            fix=f"try again, or continue without them: devbox {verb.format(box.name)} --no-save",
        ) from error


def _fetch(ws: Workspace, box: Box, *, ignored: bool) -> None:
    from devbox.sync import rsync  # why here: `up` needs none of it

    down = spec.decode_box(box.spec).sync.down
    ws.narrate(f"{box.name}: fetching {', '.join(down) or 'what is newer or only there'}")
    report = rsync.down(ws, box, rsync.Options(ignored=ignored))
    if report.moved:
        ws.narrate(
            f"{box.name}: {counted(len(report.moved), 'file')} ({size(report.bytes)}) fetched"
        )
    for kept in report.kept[:SHOWN]:
        ws.narrate(f"  not fetched: {kept.path} ({kept.why})")
    if len(report.kept) > SHOWN:
        ws.narrate(f"  nor {len(report.kept) - SHOWN} more")


def _may_pass(ws: Workspace, box: Box, error: DevboxError) -> bool:
    """Whether a stop happens although nothing could be fetched: the rules name no file, and either
    they do not apply in this folder, or the box does not answer and this computer never sent it
    files, fetched some, or ran a job there."""
    from devbox.sync import baseline

    if spec.decode_box(box.spec).sync.down:
        return False
    synced = (baseline.folder() / f"{box.id}.json").exists()
    work = synced or ws.store.runs.latest(box_id=box.id, limit=1)
    return isinstance(error, UsageError) or (isinstance(error, SshError) and not work)


def _looked(ws: Workspace, box: Box, *, disk: bool) -> Losses:
    """disk: whether its files are lost, or only what runs on it."""
    found = Losses(box.name, box.alias)
    if box.state is not BoxState.RUNNING:
        unknown = f"it is {box.state}: what is on it and not here is unknown"
        return msgspec.structs.replace(found, unknown=unknown)
    if spec.is_headless(box):
        cut = "its command is cut off, and what it wrote only there is lost"
        return msgspec.structs.replace(found, unknown=cut)
    from devbox.jobs import unfetched  # why here: `up` needs none of it
    from devbox.sync import unsaved

    try:
        runs = unfetched.look(ws, box)
        if not disk:
            return msgspec.structs.replace(found, running=tuple(run.id for run in runs.running))
        files = unsaved.look(ws, box)
    except DevboxError as error:
        unknown = f"what is on it and not here is unknown: {error.what}"
        return msgspec.structs.replace(found, unknown=unknown)
    return msgspec.structs.replace(
        found,
        running=tuple(run.id for run in runs.running),
        unfetched=tuple(run.id for run in runs.made),
        groups=files.groups,
        compared=(
            f"compared: its home folder with {files.root}, without hidden files at its top, "
            ".git, environments and caches"
        ),
    )

"""What the end of a box's disk would lose, and fetching it first: one list for every verb that
ends it, for the watchdog's warning, the dashboard and `status`."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from devbox import spec
from devbox.errors import DevboxError, SshError, UsageError
from devbox.lifecycle.losses import SHOWN, Losses
from devbox.lifecycle.operation import BoxOperation
from devbox.model import Box, BoxState
from devbox.providers.abilities import CanPause, CanRenew, CanResize, CanRestart
from devbox.remote import agent
from devbox.remote.exec import Exec
from devbox.telemetry import usage
from devbox.text import counted, duration, size
from devbox.workspace import Workspace

_LAST_WORDS = ("saved", "save-failed", "pausing", "paused")
_FETCHED = ("only", "edited")
#: verb → what its provider must be able to do
_NEEDS: Mapping[str, type] = {
    "pause": CanPause,
    "restart": CanRestart,
    "resize": CanResize,
    "renew": CanRenew,
}


def unsaved_data(
    ws: Workspace, box: Box, verb: str = "down", *, save: bool = True, ignored: bool = False
) -> Losses | None:
    """What `verb` on the box as it is now would lose, asked of the box; None when it keeps the
    files, cuts off no run and is no end, or when its provider cannot do it. save: the verb fetches
    first what the rules name; ignored: and what they leave out."""
    op = BoxOperation(ws, box)
    if verb in _NEEDS and not isinstance(op.provider, _NEEDS[verb]):
        return None
    disk = _ends_disk(op, verb)
    found = _looked(op, disk=disk)
    if not disk and verb != "down" and not found.running:
        return None
    if not save:
        return found
    before = op.spec.sync.before_pause
    saved = (*(_FETCHED if before else ()), *(("ignored",) if ignored else ()))
    return msgspec.structs.replace(found, saved=saved, runs_saved=before)


class Stop(msgspec.Struct, frozen=True):
    """What a front end says before a verb that stops a box. means: what the stop keeps, or does.
    lines: what it loses. question: '' when there is nothing to ask: the files stay, and no run is
    cut off."""

    means: str
    lines: tuple[str, ...] = ()
    question: str = ""


def before_stop(
    ws: Workspace, box: Box, verb: str, *, save: bool = True, ignored: bool = False
) -> Stop:
    """save, ignored: as in `unsaved_data`. One that its provider cannot do is refused by the verb
    itself."""
    op = BoxOperation(ws, box)
    if verb in _NEEDS and not isinstance(op.provider, _NEEDS[verb]):
        return Stop(f"boxes of {box.provider} cannot {verb}; end it instead")
    found = unsaved_data(ws, box, verb, save=save, ignored=ignored)
    noun = "file" if found and found.left == 1 else "files"
    lost = f", losing {found.left} {noun}" if found and found.left else ""
    if verb == "down":
        end = op.provider.end_means(op.spec)
        means, question = f"this will {end}", f"End {box.name} and {end}{lost}?"
    else:
        kept = op.provider.pause_keeps(op.spec).words
        asked = _ASKED.get(verb, f"{verb.capitalize()} {{}}").format(box.name)
        means, question = f"a {verb} keeps {kept}", f"{asked}? It keeps {kept}{lost}."
    return Stop(means, tuple(found.lines()), question) if found else Stop(means)


_ASKED = {"resize": "Change the hardware of {}", "renew": "Replace {} by a successor"}


def lost_by_pause(ws: Workspace, box: Box) -> str:
    """What the pause that a box is in lost, as far as is known here; '' where it keeps the disk."""
    op = BoxOperation(ws, box)
    if box.state is not BoxState.PAUSED or not _ends_disk(op, "pause"):
        return ""
    from devbox.sync import baseline

    kept = op.provider.pause_keeps(op.spec).words
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


def ends_disk(ws: Workspace, box: Box, verb: str) -> bool:
    """Whether files of the box's own disk are gone after `verb`: down, or one that stops it for a
    while (pause, restart, resize, renew)."""
    return _ends_disk(BoxOperation(ws, box), verb)


def is_saved_before_pause(ws: Workspace, box: Box) -> bool:
    """Whether files and run results are fetched when the watchdog announces a pause: the spec does
    not rule it out, and the folder they belong to is known."""
    known = bool(box.root) or ws.here.has(box)
    return known and not spec.is_headless(box) and spec.decode_box(box.spec).sync.before_pause


def save_before_watchdog_pause(ws: Workspace, box: Box) -> None:
    """Fetch what a pause that was announced would lose or lock away, without calling that pause
    off. For what follows a box (the dashboard, `sync watch`) when its watchdog warns."""
    if is_saved_before_pause(ws, box):
        op = BoxOperation(ws, box)
        with agent.syncing(Exec(box)):
            _save(op, whole=_ends_disk(op, "pause"))


def save_or_raise(op: BoxOperation, verb: str, *, ignored: bool = False) -> None:
    """Fetch before the box stops, or an error that says it was left running for the sake of its
    files. verb: what the user typed, with {} where the box's name goes. ignored: also what ignore
    files leave out."""
    box = op.box
    op.ws.on_stage("save")
    try:
        _save(op, whole=_ends_disk(op, verb.split(maxsplit=1)[0]), ignored=ignored)
    except DevboxError as error:
        if not ignored and _may_pass(op, error):
            op.narrate(f"its files were not looked at: {error.what}")
            return
        raise DevboxError(
            f"{box.name}: its files could not be fetched: {error.what}",
            means="it was left running because of its files, and it is still costing",
            fix=f"try again, or continue without them: devbox {verb.format(box.name)} --no-save",
        ) from error


def _ends_disk(op: BoxOperation, verb: str) -> bool:
    if verb == "down":
        return op.provider.end_deletes
    return not op.provider.pause_keeps(op.spec).disk


def _save(op: BoxOperation, *, whole: bool, ignored: bool = False) -> None:
    """Fetch what `[boxes.NAME.sync] down` names, and the results of runs that were never fetched.
    whole: where that table names nothing, all that is synced."""
    rules = op.spec.sync
    if op.box.state is not BoxState.RUNNING or op.spec.command:
        return
    if not (rules.before_pause or ignored):
        return
    if rules.down or whole or ignored:
        _fetch(op, ignored=ignored)
    if not rules.before_pause:
        return
    from devbox.jobs import fetch

    for run in fetch.unfetched(op.ws, op.box).made:
        op.narrate(f"fetching the results of run {run.id}")
        fetch.fetch(op.ws, run)
    if op.box.endpoint:
        usage.before_end(op.ws, op.box)


def _fetch(op: BoxOperation, *, ignored: bool) -> None:
    from devbox.sync import rsync  # why here: `up` needs none of it

    op.narrate(f"fetching {', '.join(op.spec.sync.down) or 'what is newer or only there'}")
    report = rsync.down(op.ws, op.box, rsync.Options(ignored=ignored))
    if report.moved:
        op.narrate(f"{counted(len(report.moved), 'file')} ({size(report.bytes)}) fetched")
    for kept in report.kept[:SHOWN]:
        op.ws.narrate(f"  not fetched: {kept.path} ({kept.why})")
    if len(report.kept) > SHOWN:
        op.ws.narrate(f"  nor {len(report.kept) - SHOWN} more")


def _may_pass(op: BoxOperation, error: DevboxError) -> bool:
    """Whether a stop happens although nothing could be fetched: the rules name no file, and either
    they do not apply in this folder, or the box does not answer and this computer never sent it
    files, fetched some, or ran a job there."""
    from devbox.sync import baseline

    if op.spec.sync.down:
        return False
    synced = (baseline.folder() / f"{op.box.id}.json").exists()
    work = synced or op.ws.store.runs.latest(box_id=op.box.id, limit=1)
    return isinstance(error, UsageError) or (isinstance(error, SshError) and not work)


def _looked(op: BoxOperation, *, disk: bool) -> Losses:
    """disk: whether its files are lost, or only what runs on it."""
    ws, box = op.ws, op.box
    found = Losses(box.name, box.alias)
    if box.state is not BoxState.RUNNING:
        unknown = f"it is {box.state}: what is on it and not here is unknown"
        return msgspec.structs.replace(found, unknown=unknown)
    if op.spec.command:
        cut = "its command is cut off, and what it wrote only there is lost"
        return msgspec.structs.replace(found, unknown=cut)
    from devbox.jobs import fetch  # why here: `up` needs none of it
    from devbox.sync import unsaved

    try:
        runs = fetch.unfetched(ws, box)
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

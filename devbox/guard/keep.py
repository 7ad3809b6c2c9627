"""What is due by schedules and ceilings, decided and begun."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress

import msgspec

from devbox import lifecycle, spec
from devbox.errors import DevboxError, Locked
from devbox.files import locked
from devbox.guard import entries
from devbox.guard.entries import Entry, Record
from devbox.model import Box, BoxState
from devbox.providers.abilities import CanPause
from devbox.spec import cron
from devbox.text import duration
from devbox.workspace import Workspace

#: seconds for which a box must have been quiet to be paused at its time
QUIET = 600.0
_BEGINNING = 60.0  # seconds that a process may take until it holds its lock
#: starts what an entry says, in a process that outlives us
Begin = Callable[[Entry], None]


def schedules(ws: Workspace, found: Iterable[Entry], begin: Begin) -> float | None:
    """Begin what is due; the next time that anything is. ws: of the project."""
    every, now = list(found), ws.clock()
    for entry in every:
        with suppress(Locked), locked(entries.lock(entry.key), timeout=0):
            _one(ws, entry, every, begin)
    coming = [entry.following(now) for entry in every]
    return min((each for each in coming if each is not None), default=None)


def ceilings(ws: Workspace, begin: Begin) -> float | None:
    """Pause what is past a max_uptime that nothing else keeps; the next end of one."""
    ends = []
    for box in ws.store.boxes.all():
        end = ceiling(ws, box)
        if end is None:
            continue
        if end > ws.clock():
            ends.append(end)
            continue
        entry = Entry("", box.project, "ceiling", box.id, box.ref, f"{end:.0f}")
        with suppress(Locked), locked(entries.lock(entry.key), timeout=0):
            record = entries.read(entry.key)
            if record is None or record.entry != entry:
                record = Record(entry, end)
            if _is_under_way(record, ws.clock()):
                continue
            entries.write(_began(record, ws.clock(), end))
            begin(entry)
    return min(ends, default=None)


def ceiling(ws: Workspace, box: Box) -> float | None:
    """When the box is past its max_uptime, where nobody but us would end it then; else None."""
    began = _since(ws, box)
    if began is None:
        return None
    with suppress(DevboxError):  # its provider's client is not here: neither is what would pause it
        provider = ws.provider_of(box)
        if isinstance(provider, CanPause) and provider.bills:
            kept = lifecycle.guards(ws, box).ceiling
            return None if kept else began + spec.decode_box(box.spec).max_uptime
    return None


def at(entry: Entry, moment: float) -> str:
    """A time as the entry's zone shows it: '08:00 of 30 Nov'."""
    import datetime as dt

    return dt.datetime.fromtimestamp(moment, cron.zone(entry.zone)).strftime("%H:%M of %d %b")


def tell(ws: Workspace, entry: Entry, kind: str, what: str) -> None:
    """An event of the entry's box, which becomes a notice."""
    box = box_of(ws, entry)
    whose = entry.box if entry.verb != "run" else f"job {entry.name} on {entry.box}"
    message = what if box and entry.verb != "run" else f"{whose}: {what}"
    ws.store.events.add(box.id if box else "", kind, message, ws.clock())
    ws.narrate(f"{entry.project}: {whose}: {what}")


def _one(ws: Workspace, entry: Entry, every: list[Entry], begin: Begin) -> None:
    """An entry whose lock is ours. Whatever was begun and has no end was cut off."""
    before, now = entries.read(entry.key), ws.clock()
    record, verdict = entries.due(entry, before, now)
    if _is_under_way(record, now):
        return
    if record.began and record.ended is None:
        record = _ended(record, now, ok=False, outcome="it was cut off")
        tell(ws, entry, "schedule-failed", f"what began at {at(entry, record.began or now)} was "
             "cut off; devbox reconcile finishes it")  # fmt: skip
    if verdict == "now" and record.pending is not None:
        left = _left_out(ws, entry, every, record.pending)
        if left is None:
            entries.write(_began(record, now, record.pending))
            begin(entry)
            return
        record = _left(ws, entry, record, left)
    elif verdict == "missed":
        why = f"missed at {at(entry, record.pending or now)}: this computer was off or asleep"
        tell(ws, entry, "schedule-missed", why)
        record = _ended(record, now, ok=False, outcome=why, due=record.pending)
    if record != before:
        entries.write(record)


class _Left(msgspec.Struct, frozen=True):
    """Why something due is not done. waits: for its box to be unused."""

    why: str
    waits: bool = False


def _left_out(ws: Workspace, entry: Entry, every: list[Entry], due: float) -> _Left | None:
    """None for what is to be done now."""
    box = box_of(ws, entry)
    if entry.verb == "run":
        return None
    if box and box.handle and not box.state.is_over:
        (box,) = lifecycle.refresh(ws, [box])
    if entry.verb == "up":
        runs = box is not None and box.state is BoxState.RUNNING and not box.unreachable
        return _Left("it ran already") if runs else None
    began = None if box is None else _since(ws, box)
    if box is None or began is None:
        return _Left("it did not run")
    if began >= due:
        return _Left("it was started after that")
    starts = [each for each in every if each.verb == "up" and each.box == entry.box]
    if any(each.latest(due, ws.clock()) for each in starts):
        return _Left("its next start has come since")
    used = in_use(ws, box)
    return _Left(used, waits=True) if used else None


def in_use(ws: Workspace, box: Box) -> str:
    """Why the box is not to be cut off now; '' when it is quiet. By its watchdog's own judgement; a
    box that cannot be asked counts as used, as its idle policy has it."""
    verdict = lifecycle.idle_status(ws, box)
    if verdict is None:
        return "its watchdog could not be asked whether it is in use"
    if verdict.state in ("active", "held") or verdict.idle_for < QUIET:
        reason = verdict.reasons[0] if verdict.reasons else f"used {duration(verdict.idle_for)} ago"
        return f"it is in use ({reason})"
    return ""


def _left(ws: Workspace, entry: Entry, record: Record, left: _Left) -> Record:
    """What was due and is not done, or not yet, told once."""
    if not left.waits:
        return _ended(record, ws.clock(), ok=True, outcome=left.why, due=record.pending)
    if record.told != record.pending:
        assert record.pending is not None
        when = f"its pause at {at(entry, record.pending)} waits"
        tell(ws, entry, "schedule-held", f"{when}: {left.why}")
    return msgspec.structs.replace(
        record, outcome=f"waits: {left.why}", ok=None, told=record.pending
    )


def _began(record: Record, now: float, due: float) -> Record:
    return msgspec.structs.replace(
        record, pending=None, due=due, began=now, ended=None, ok=None, outcome=""
    )


def _is_under_way(record: Record, now: float) -> bool:
    """It was begun just now. One that is longer at it holds its lock."""
    began = record.began
    return began is not None and record.ended is None and 0 <= now - began < _BEGINNING


def _ended(
    record: Record, now: float, *, ok: bool, outcome: str, due: float | None = None
) -> Record:
    due = record.due if due is None else due
    return msgspec.structs.replace(
        record, pending=None, due=due, began=record.began, ended=now, ok=ok, outcome=outcome
    )


def box_of(ws: Workspace, entry: Entry) -> Box | None:
    """The entry's box, as its project has it."""
    if entry.verb == "ceiling":
        return ws.store.boxes.get(entry.name)
    return ws.here.own(ws.store.boxes.named(entry.box))


def _since(ws: Workspace, box: Box) -> float | None:
    """Since when a box runs; None when it does not."""
    if box.state is not BoxState.RUNNING:
        return None
    interval = ws.store.ledger.current(box.id)
    return interval.start if interval else box.started

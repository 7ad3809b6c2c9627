"""Whether a guard runs, and what it keeps, for `devbox guard --status`, `schedule` and `doctor`."""

from __future__ import annotations

from pathlib import Path

import msgspec

from devbox.guard import entries, install, keep, place
from devbox.guard.entries import Entry, Record
from devbox.guard.round import Status, read_status
from devbox.text import duration
from devbox.wire.messages import Check
from devbox.workspace import Workspace

_LATE = 3  # intervals without a round after which it counts as stuck


class Guard(msgspec.Struct, frozen=True):
    """process: its id, None when none runs. file: of its service. last: what its last round came
    to."""

    process: int | None
    file: Path | None
    last: Status | None

    def is_late(self, now: float) -> bool:
        return self.last is not None and now - self.last.at > _LATE * self.last.every


class Line(msgspec.Struct, frozen=True):
    """One schedule. next: unix time, None for never."""

    entry: Entry
    next: float | None
    record: Record | None

    @property
    def outcome(self) -> str:
        """What became of it the last time; '' when it was never due."""
        record = self.record
        if record is None or record.entry != self.entry or (record.due or record.pending) is None:
            return ""
        at = keep.at(self.entry, record.pending or record.due or 0.0)
        return f"{record.outcome or 'under way'} ({at})"


def guard() -> Guard:
    return Guard(place.running(), install.installed(), read_status())


def schedules(ws: Workspace) -> list[Line]:
    """Those of the project of `ws`."""
    now = ws.clock()
    return [Line(e, e.following(now), entries.read(e.key)) for e in entries.of(ws.spec)]


def check(ws: Workspace) -> Check:
    """For `devbox doctor`. None is needed, unless something is installed or scheduled."""
    found = guard()
    if found.process is not None:
        if found.last and found.is_late(ws.clock()):
            ago = duration(ws.clock() - found.last.at)
            return Check("warn", f"the guard has not looked for {ago}", "devbox guard --status")
        problems = found.last.problems if found.last else ()
        if problems:
            return Check("warn", f"the guard: {problems[0]}", "devbox guard --status")
        return Check("ok", f"a guard runs (process {found.process})")
    if found.file:
        return Check("warn", "the guard is installed and does not run", "devbox guard --install")
    if entries.of(ws.spec):
        fix = "devbox guard --install, or devbox guard in a terminal"
        return Check("warn", "no guard runs, so nothing keeps this project's schedules", fix)
    return Check("ok", "no guard runs; none is needed (devbox guard --install)")

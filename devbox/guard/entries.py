"""What devbox.toml wants at which times, and what became of it the last time.

    DEVBOX_HOME/guard/due/<key>.json    one `Record` of each
    DEVBOX_HOME/guard/projects.json     folders of projects that never had a box

What is due is written down before it is done: a crash, or a disk that is full, makes it late or
leaves it out, and never happen twice.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Literal

import msgspec

from devbox import spec
from devbox.described import described
from devbox.files import locked, private_dir, write_atomic
from devbox.guard import place
from devbox.spec import cron
from devbox.spec.tables import FILE_NAME
from devbox.workspace import Workspace

Verb = Literal["up", "pause", "run", "ceiling"]
#: seconds after its time for which a start or a run still happens; later it is told as missed
GRACE = 3600.0
#: a record of the future by more than this is of a clock that was wrong
_FUTURE = 86400.0


class Entry(msgspec.Struct, frozen=True):
    """root: the project's folder. name: of the box, or of the job; box: the box it is about.
    written: cron or a time of day, in `zone` ('' for this computer's); of a ceiling, its end."""

    root: str
    project: str
    verb: Verb
    name: str
    box: str
    written: str
    zone: str = ""

    @property
    def key(self) -> str:
        return hashlib.sha256(f"{self.root}\0{self.verb}\0{self.name}".encode()).hexdigest()[:20]

    def following(self, after: float) -> float | None:
        return cron.following(self.written, cron.zone(self.zone), after)

    def latest(self, after: float, until: float) -> float | None:
        return cron.latest(self.written, cron.zone(self.zone), after, until)


class Record(msgspec.Struct, frozen=True):
    """seen: up to where its times were looked at. pending: a pause that waits for its box to be
    unused. due: the last time that counted; began, ended: of what was done then. tries: how often
    in a row it failed. told: the time that a notice was about."""

    entry: Entry
    seen: float
    pending: float | None = None
    due: float | None = None
    began: float | None = None
    ended: float | None = None
    ok: bool | None = None
    outcome: str = ""
    tries: int = 0
    told: float | None = None


def of(config: spec.Spec) -> list[Entry]:
    """The entries of a project. What its user has not trusted is none."""
    root, found = os.path.realpath(config.root), []
    only = next(iter(config.boxes)) if len(config.boxes) == 1 else ""
    for name, box in config.boxes.items():
        for verb, written in (("up", box.schedule), ("pause", box.pause_at)):
            if written:
                found.append((verb, name, name, written))
    for name, job in config.jobs.items():
        if job.schedule and (job.box or only):
            found.append(("run", name, job.box or only, job.schedule))
    return [
        Entry(root, config.project, verb, name, box, written, config.timezone)  # type: ignore[arg-type]
        for verb, name, box, written in found
    ]


def due(
    entry: Entry, record: Record | None, now: float
) -> tuple[Record, Literal["", "now", "missed"]]:
    """The record as it is to be kept, and whether its entry is due: `pending` holds the time. Times
    before an entry was first seen, or was changed, never count; of several since the last look the
    latest does. A pause is never missed: whether it still applies depends on its box."""
    if record is None or record.entry != entry or record.seen > now + _FUTURE:
        return Record(entry, now), ""
    latest = entry.latest(record.seen, now)
    if latest is None and record.pending is None:
        return record, ""
    at = record.pending if latest is None else latest
    assert at is not None
    kept = msgspec.structs.replace(record, seen=max(record.seen, at), pending=at)
    return kept, "now" if entry.verb == "pause" or now - at <= GRACE else "missed"


def read(key: str) -> Record | None:
    """None when there is none, or it cannot be read: its entry is then seen for the first time."""
    try:
        return msgspec.json.decode((_folder() / f"{key}.json").read_bytes(), type=described(Record))
    except (OSError, msgspec.MsgspecError):
        return None


def write(record: Record) -> None:
    """OSError when it cannot be kept; nothing may be done then."""
    write_atomic(_folder() / f"{record.entry.key}.json", msgspec.json.encode(record))


def lock(key: str) -> Path:
    """Held by the process that does what the entry says."""
    return _folder() / f"{key}.lock"


def projects(ws: Workspace) -> list[Path]:
    """devbox.toml of each project that is known here: it has, or had, a box, or was remembered."""
    roots = {box.root for box in ws.store.boxes.all(over=True) if box.root} | set(_remembered())
    files = [Path(root) / FILE_NAME for root in sorted(roots)]
    return [file for file in files if file.is_file()]


def remember(root: Path) -> None:
    """Look at this project from now on, although it never had a box."""
    real = os.path.realpath(root)
    with locked(place.folder() / "projects.lock"):
        known = _remembered()
        if real not in known:
            write_atomic(place.folder() / "projects.json", msgspec.json.encode([*known, real]))


def _remembered() -> list[str]:
    try:
        content = (place.folder() / "projects.json").read_bytes()
        return msgspec.json.decode(content, type=list[str])
    except (OSError, msgspec.MsgspecError):
        return []


def _folder() -> Path:
    return private_dir(place.folder() / "due")

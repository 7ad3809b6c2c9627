"""Events of the store as notices. Pure."""

from __future__ import annotations

import hashlib

from devbox import spec
from devbox.box.notices.about import COMMANDS, KINDS
from devbox.model import Box, Event
from devbox.wire.notices import Notice, NoticeKind

#: kinds of this computer's own events → of notices
_OURS: dict[str, NoticeKind] = {
    "run-finished": "run-finished",
    "run-failed": "run-failed",
    "found-paused": "paused",
    "found-ended": "ended",
    "build-failed": "build-failed",
    "orphan": "orphan",
    "budget": "budget",
    "watchdog-silent": "silent",
    "schedule-failed": "schedule",
    "schedule-held": "schedule",
    "schedule-missed": "schedule",
    "schedule-refused": "schedule",
}
_TYPE: dict[NoticeKind, str] = COMMANDS | {
    "paused": "devbox resume {box}",
    "ended": "devbox status {box}",
    "build-failed": "devbox events {box}",
    "run-finished": "devbox runs --box {box}",
    "run-failed": "devbox runs --box {box}",
    "orphan": "devbox reconcile",
    "budget": "devbox budget",
    "silent": "devbox doctor {box}",
    "schedule": "devbox schedule",
}
#: kinds of events that a user may be told
EVENTS = tuple(sorted({*_OURS, *KINDS}))


def notice(event: Event, box: Box | None) -> Notice | None:
    """The notice of an event; None for one that nobody is told. box: whose it is."""
    kind = KINDS.get(event.kind) or _OURS.get(event.kind)
    if kind is None:
        return None
    name, project = (box.name, box.project) if box else ("", "")
    text = f"{name}: {event.message}" if name else event.message
    # A resource that nobody tracks is found by each look for such.
    unique = hashlib.sha256(event.message.encode()).hexdigest()[:16] if box is None else event.id
    return Notice(
        f"{event.box_id or 'none'}-{kind}-{unique}",
        event.at,
        kind,
        name,
        project,
        text[:900],
        _TYPE[kind].format(box=name),
    )


def told_by_box(notice: Notice, box: Box | None) -> bool:
    """Whether the box posts this itself: what its watchdog does, and its runs, where it has one."""
    if box is None or spec.is_headless(box):
        return False
    return notice.kind in COMMANDS or notice.kind in ("run-finished", "run-failed")

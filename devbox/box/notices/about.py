"""What happened on this box, as notices. Pure."""

from __future__ import annotations

from typing import Dict, Optional

from devbox.box.format import brief
from devbox.wire.jobs import JobStatus
from devbox.wire.messages import BoxEvent
from devbox.wire.notices import Notice, NoticeKind, Notify

#: kinds of the watchdog's events that users are told
KINDS: Dict[str, NoticeKind] = {
    "warning": "pause-soon",
    "pausing": "pausing",
    "pause-failed": "pause-failed",
    "pause-unconfirmed": "pause-failed",
    "cannot-pause": "pause-failed",
    "then-held": "pause-failed",
    "gpu-lost": "gpu",
    "gpu-ecc": "gpu",
    "gpu-xid": "gpu",
    "gpu-slow": "gpu",
}
#: what to type about a notice of the kind
COMMANDS: Dict[NoticeKind, str] = {
    "pause-soon": "devbox keep {box} 2h",
    "pausing": "devbox resume {box}",
    "pause-failed": "devbox pause {box}",
    "gpu": "devbox doctor {box}",
}


def event(event: BoxEvent, box: str, to: Notify) -> Optional[Notice]:
    """The notice of an event of the watchdog; None for one that nobody is told."""
    kind = KINDS.get(event.kind)
    if kind is None:
        return None
    command = COMMANDS[kind].format(box=box)
    text = f"{box}: {event.message}"
    # `seq` begins again on a box whose disk was lost.
    name = f"{to.id}-{event.t:.0f}-{event.seq}"
    return Notice(name, event.t, kind, box, to.project, text, command)


def run(status: JobStatus, box: str, to: Notify) -> Optional[Notice]:
    """The notice of a run that is over; None for one that its user cancelled."""
    if status.state == "cancelled":
        return None
    kind: NoticeKind = "run-finished" if status.state == "succeeded" else "run-failed"
    ended = status.ended or status.t or 0.0
    took = f" after {brief(max(0.0, ended - status.started))}" if status.started else ""
    why = f": {status.message}" if status.message else ""
    return Notice(
        f"{to.id}-run-{status.id}-{status.attempt}",
        ended,
        kind,
        box,
        to.project,
        f"{box}: run {status.id} {status.state}{took}{why}",
        f"devbox attach {status.id}",
    )

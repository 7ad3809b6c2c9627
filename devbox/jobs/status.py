"""The status of a run as this computer keeps it: in the runs table, with times by its own clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from devbox.model import Run, RunState
from devbox.text import clean
from devbox.wire.codec import LATEST, Json, Unreadable, convert, decode, encode, load, plain
from devbox.wire.jobs import Attempt, JobRequest, JobStatus
from devbox.wire.messages import End, Identity

_SKEW = 2.0  # seconds; a box clock that is off by less is taken as right


def of(run: Run) -> JobStatus:
    """The last known status of a run; an empty one where the record of it is damaged."""
    try:
        return decode(run.status, JobStatus)
    except Unreadable:
        return JobStatus()


class Asked(NamedTuple):
    """What a run was asked to do. inputs: name → path on the box; sources: name → path here."""

    command: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    args: Mapping[str, Json] = {}
    inputs: Mapping[str, str] = {}
    sources: Mapping[str, str] = {}


def asked(run: Run) -> Asked | None:
    """None where the record of it is damaged, or another computer started it."""
    try:
        found = load(run.request)
        request = convert(found.get("request"), JobRequest)
    except Unreadable:
        return None
    listed = found.get("sources")
    sources = {name: str(path) for name, path in listed.items()} if type(listed) is dict else {}
    return Asked(request.command, request.extra, request.args, request.inputs, sources)


def then(run: Run) -> End | None:
    """What was ordered with it: what its box does with itself once it has ended."""
    found = msgspec.json.decode(run.request).get("then")
    return found if found in ("pause", "down") else None


def with_then(run: Run, wanted: End | None) -> Run:
    """The run's row with that order."""
    journalled = {**msgspec.json.decode(run.request), "then": wanted}
    return msgspec.structs.replace(run, request=msgspec.json.encode(journalled))


def begun(submitter: Identity | None) -> bytes:
    """The record of a run that `submitter`, a process of this computer, is about to start."""
    return msgspec.json.encode({"submitter": plain(submitter)})


def submitter(run: Run) -> Identity | None:
    """Who is about to start a queued run; None where its box has answered, or nothing is known."""
    try:
        return convert(load(run.status).get("submitter"), Identity)
    except Unreadable:
        return None


def seconds(status: JobStatus, now: float) -> float | None:
    """How long the attempts took together, up to now; None before the first."""
    spans = [(now if a.ended is None else a.ended) - a.started for a in status.attempts]
    return sum(spans) if spans else None


def shifted(status: JobStatus, *, box_now: float, now: float) -> JobStatus:
    """The same with its times by our clock. box_now: the box's clock when it answered."""
    shift = now - box_now
    if abs(shift) <= _SKEW:
        return status
    attempts = tuple(
        Attempt(_moved(each.started, shift), _moved_or_none(each.ended, shift))
        for each in status.attempts
    )
    started, ended = _moved_or_none(status.started, shift), _moved_or_none(status.ended, shift)
    return status._replace(started=started, ended=ended, attempts=attempts)


def apply(run: Run, status: JobStatus) -> Run:
    """The run's row with that status."""
    return msgspec.structs.replace(
        run,
        state=RunState(status.state) if status.state else RunState.UNKNOWN,
        started=status.attempts[0].started if status.attempts else status.started,
        ended=status.ended,
        exit_code=status.exit_code,
        status=encode(status),
    )


def fail(run: Run, message: str, now: float) -> Run:
    """The run's row when this side knows that it is over, and the box cannot say."""
    seen = of(run)
    failed = seen._replace(
        state="failed",
        reason="interrupted",
        message=clean(message, 1000),
        ended=now,
        attempts=tuple(
            a._replace(ended=now if a.ended is None else a.ended) for a in seen.attempts
        ),
    )
    return apply(run, failed)


def _moved(moment: float, shift: float) -> float:
    return min(max(0.0, moment + shift), LATEST)


def _moved_or_none(moment: float | None, shift: float) -> float | None:
    return None if moment is None else _moved(moment, shift)

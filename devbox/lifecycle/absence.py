"""What absence proves. A provider that does not know a box proves its end only when it is the one
the box was made at, and only when every create that was asked for has had its time to take effect
and to be listed."""

from __future__ import annotations

from contextlib import suppress

import msgspec

from devbox.errors import AuthError, DevboxError, WrongPlace
from devbox.lifecycle.merge import Answer
from devbox.lifecycle.operation import BoxOperation
from devbox.model import UNREADABLE, Box, Connection
from devbox.providers.base import Observation
from devbox.text import clean


def ask(op: BoxOperation) -> Answer:
    """Its provider's answer about a box that has a handle. WrongPlace when another account than the
    one that made it says that it is gone, or may not look."""
    asked = op.ws.clock()
    try:
        seen = op.provider.observe(op.box.handle)
    except AuthError:
        check_place(op)
        raise
    if seen is None:
        check_place(op)
    return Answer(seen, asked)


def find(op: BoxOperation) -> list[Observation]:
    """What carries the box's token where it was made. WrongPlace when it is none, and someone
    else answers so."""
    found = op.retried(lambda: op.provider.find(op.box.token))
    if not found:
        op.retried(lambda: check_place(op))
    return found


def check_before_end(op: BoxOperation) -> None:
    """WrongPlace, before anything is changed, when the box is not to be seen because someone
    else answers. That its provider cannot be asked now is for the end itself to find."""
    try:
        if op.box.handle:
            ask(op)
        else:
            check_place(op)
    except WrongPlace:
        raise
    except DevboxError:
        return


def check_place(op: BoxOperation) -> None:
    """WrongPlace unless who made the box is who answers for it now. A box of a provider that knows
    no accounts has nobody to be confused with; one of an older version is asked for in its own
    project only, as it does not say where it was made."""
    box = op.box
    if box.connection is None and not op.ws.here.has(box):
        raise WrongPlace(
            f"{box.name} was made in project {box.project}, with settings that are only there",
            means="nothing was changed: it may exist and cost where it was made",
            fix=f"cd {box.root or 'to that project'}, then try again",
        )
    made = box.connection.identity if box.connection else ""
    if not made:
        return
    answers = op.provider.identity()
    if made == UNREADABLE and not answers:
        return  # its provider knows no accounts
    if answers != made:
        raise WrongPlace(
            f"{box.name} was made at {_place(box, made)}, but {_place(box, answers)} answers",
            means="nothing was changed: the box may exist and cost, and this one would not know it",
            fix=f"{op.provider.go_back.format(clean(made, 200))}, then try again; or, when "
            f"{clean(made, 200)} is gone permanently: devbox down {box.name} --forget",
        )


def learned(op: BoxOperation) -> Connection | None:
    """Where a box lives, now that its provider has shown it: rows of older versions do not say."""
    box = op.box
    if box.connection is not None and box.connection.identity not in ("", UNREADABLE):
        return box.connection
    with suppress(DevboxError):  # why: who it is only sharpens later answers
        known = box.connection or op.ws.connection(box.provider)
        return msgspec.structs.replace(known, identity=op.provider.identity())
    return box.connection


def unsettled(op: BoxOperation) -> float:
    """Seconds until a create of this box that was never answered has either shown itself or never
    will; 0 when there is none. Until then a box without a handle may begin to cost by itself."""
    if op.box.unanswered is None:
        return 0.0
    whole = op.provider.create_lag + op.provider.find_lag
    return min(max(0.0, op.box.unanswered + whole - op.ws.clock()), whole)


def _place(box: Box, identity: str) -> str:
    assert box.connection is not None
    known = box.connection.settings
    where = known.get("endpoint") or known.get("server_url") or known.get("docker_host")
    more = f" (environment {known['environment']})" if known.get("environment") else ""
    return f"{identity or 'nobody'} at {box.provider}" + (f" {where}" if where else "") + more

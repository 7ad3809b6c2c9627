"""What absence proves. A provider that does not know a box proves its end only when it is the one
the box was made at, and only when every create that was asked for has had its time to take effect
and to be listed."""

from __future__ import annotations

from contextlib import suppress

import msgspec

from devbox.errors import AuthError, DevboxError, WrongPlace
from devbox.lifecycle.merge import Answer
from devbox.lifecycle.steps import with_retries
from devbox.model import UNREADABLE, Box, Connection
from devbox.providers.base import Observation
from devbox.text import clean
from devbox.workspace import Workspace


def observe(ws: Workspace, box: Box) -> Answer:
    """Its provider's answer about a box that has a handle. WrongPlace when another account than the
    one that made it says that it is gone, or may not look."""
    asked = ws.clock()
    try:
        seen = ws.provider_of(box).observe(box.handle)
    except AuthError:
        check_place(ws, box)
        raise
    if seen is None:
        check_place(ws, box)
    return Answer(seen, asked)


def find(ws: Workspace, box: Box) -> list[Observation]:
    """What carries the box's token where it was made. WrongPlace when it is none, and someone
    else answers so."""
    found = with_retries(ws, lambda: ws.provider_of(box).find(box.token))
    if not found:
        with_retries(ws, lambda: check_place(ws, box))
    return found


def check_before_end(ws: Workspace, box: Box) -> None:
    """WrongPlace, before anything is changed, when the box is not to be seen because someone
    else answers. That its provider cannot be asked now is for the end itself to find."""
    try:
        if box.handle:
            observe(ws, box)
        else:
            check_place(ws, box)
    except WrongPlace:
        raise
    except DevboxError:
        return


def check_place(ws: Workspace, box: Box) -> None:
    """WrongPlace unless who made the box is who answers for it now. A box of a provider that knows
    no accounts has nobody to be confused with; one of an older version is asked for in its own
    project only, as it does not say where it was made."""
    if box.connection is None and not ws.here.has(box):
        raise WrongPlace(
            f"{box.name} was made in project {box.project}, with settings that are only there",
            means="nothing was changed: it may exist and cost where it was made",
            fix=f"cd {box.root or 'to that project'}, then try again",
        )
    made = box.connection.identity if box.connection else ""
    if not made:
        return
    answers = ws.provider_of(box).identity()
    if made == UNREADABLE and not answers:
        return  # its provider knows no accounts
    if answers != made:
        raise WrongPlace(
            f"{box.name} was made at {_place(box, made)}, but {_place(box, answers)} answers",
            means="nothing was changed: the box may exist and cost, and this one would not know it",
            fix=f"{ws.provider_of(box).go_back.format(clean(made, 200))}, then try again; or, when "
            f"{clean(made, 200)} is gone permanently: devbox down {box.name} --forget",
        )


def learned(ws: Workspace, box: Box) -> Connection | None:
    """Where a box lives, now that its provider has shown it: rows of older versions do not say."""
    if box.connection is not None and box.connection.identity not in ("", UNREADABLE):
        return box.connection
    with suppress(DevboxError):  # why: who it is only sharpens later answers
        known = box.connection or ws.connection(box.provider)
        return msgspec.structs.replace(known, identity=ws.provider_of(box).identity())
    return box.connection


def unsettled(ws: Workspace, box: Box) -> float:
    """Seconds until a create of this box that was never answered has either shown itself or never
    will; 0 when there is none. Until then a box without a handle may begin to cost by itself."""
    if box.unanswered is None:
        return 0.0
    provider = ws.provider_of(box)
    whole = provider.create_lag + provider.find_lag
    return min(max(0.0, box.unanswered + whole - ws.clock()), whole)


def _place(box: Box, identity: str) -> str:
    assert box.connection is not None
    known = box.connection.settings
    where = known.get("endpoint") or known.get("server_url") or known.get("docker_host")
    more = f" (environment {known['environment']})" if known.get("environment") else ""
    return f"{identity or 'nobody'} at {box.provider}" + (f" {where}" if where else "") + more

"""A provider's answer merged into a box's record: pure rules, from observations to state.

Provider state wins. Two things it cannot say are kept from us: that we asked for an end or a
pause it has not confirmed yet (the box shows stopping or pausing, and costs), and when we last
heard of a resource it no longer knows.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from devbox.lifecycle import billing
from devbox.model import Box, BoxState, Connection
from devbox.providers.base import Observation
from devbox.state.boxes import Change, Record

_ALIVE = (BoxState.PROVISIONING, BoxState.BUILDING, BoxState.STARTING, BoxState.RUNNING)


class Answer(NamedTuple):
    """What a provider said of a box, and when it was asked. seen None: proof that it is gone."""

    seen: Observation | None
    asked: float


def merge(record: Record, answer: Answer, connection: Connection | None, now: float) -> Change:
    """What the answer changes. One that was asked for before the record last changed is no news.
    A box that is over stays so, but one that was lost and is there again lives on. connection:
    where the box lives, for a row that does not say who made it."""
    box, seen = record.box, answer.seen
    if answer.asked < box.updated <= now:
        return Change(box)
    if box.state.is_over:
        # A handle may be a name, and another's by now: then it is the token that differs.
        if seen is None or seen.state.is_over or seen.token not in ("", box.token):
            return Change(box)
        if not is_only_lost(box):
            return Change(box)
        back = _shown(box, seen, "", now)
        return Change(back, billing.bill_again(record, back, seen, now), "it is there again")
    if seen is None:
        after = _vanished(box, now)
        return Change(after, billing.close(record.current, _end(record, now)), after.message)
    after = _shown(box, seen, record.goal.goal if record.goal else "", now)
    if not (box.connection and box.connection.identity):
        after = msgspec.structs.replace(after, connection=connection)
    return Change(after, billing.bill(record, after, seen, now), after.message)


def is_only_lost(box: Box) -> bool:
    """Its provider did not know it when it was last asked, and nobody gave up on it."""
    return box.state is BoxState.LOST and bool(box.handle) and not box.given_up


def _vanished(box: Box, now: float) -> Box:
    asked_for = box.state is BoxState.STOPPING
    return msgspec.structs.replace(
        box,
        state=BoxState.TERMINATED if asked_for else BoxState.LOST,
        endpoint=None,
        stage="",
        message="" if asked_for else "the provider no longer knows it",
        updated=now,
        seen=now if asked_for else box.seen,
    )


def _end(record: Record, now: float) -> float:
    """When a box that vanished ended. Asked for: when that was last at work, also when it is found
    long after. By itself: we know of it only until it was last seen."""
    box, goal = record.box, record.goal
    at_work = goal.updated if goal and box.state is BoxState.STOPPING else box.seen
    return min(now, max(at_work, box.seen))


def _shown(box: Box, seen: Observation, goal: str, now: float) -> Box:
    return msgspec.structs.replace(
        box,
        state=_state(goal, seen.state),
        handle=seen.handle or box.handle,
        token=seen.token or box.token,
        endpoint=seen.endpoint or box.endpoint,
        hardware=seen.hardware or box.hardware,
        price=seen.price or box.price,
        stage=seen.stage,
        message=seen.message,
        started=_started(box, seen, now),
        deadline=seen.deadline or box.deadline,
        updated=now,
        seen=now,
    )


def _started(box: Box, seen: Observation, now: float) -> float | None:
    """When the billed stretch began. Nothing has begun later than now, whatever the provider's
    clock says."""
    if seen.billed_since is not None:
        return min(seen.billed_since, now)
    return (box.started or now) if seen.billed else box.started


def _state(goal: str, theirs: BoxState) -> BoxState:
    """Theirs, unless we have asked for an end or a pause that they do not show yet."""
    if goal == "terminated" and theirs is not BoxState.TERMINATED:
        return BoxState.STOPPING
    if goal == "paused" and theirs in _ALIVE:
        return BoxState.PAUSING
    return theirs

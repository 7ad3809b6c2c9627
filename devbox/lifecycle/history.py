"""What a create without an answer made, and what it cost: it may have run and ended by itself
before anybody looked. Sought by the box's token, and brought into the ledger with the provider's
own times."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from devbox.errors import Busy, DevboxError
from devbox.lifecycle import absence, billing
from devbox.lifecycle.operation import BoxOperation, working_on
from devbox.model import Box, BoxState, Interval
from devbox.providers.abilities import HasHistory
from devbox.providers.base import Observation
from devbox.state.boxes import Change
from devbox.state.costs import run_cost
from devbox.text import clean, dollars, duration
from devbox.workspace import Workspace

# Seconds for which a create without an answer is asked about: no provider documents how long its
# listing may lag.
_LISTED = 24 * 3600.0
_ON_ITS_WAY = (BoxState.PROVISIONING, BoxState.BUILDING, BoxState.STARTING, BoxState.RUNNING)


class Told(NamedTuple):
    """What was found of a box, or why nothing could be."""

    box: Box
    line: str
    failed: bool = False


def settle(ws: Workspace, provider: str | None = None) -> list[Told]:
    """Look for what the creates without an answer of all boxes have made, also of those that are
    over. A box that another process works on is left for the next look."""
    told: list[Told] = []
    for box in ws.store.boxes.all(over=True):
        if box.unanswered is None or provider not in (None, box.provider):
            continue
        try:
            with working_on(ws, box) as op:
                told += [Told(box, line) for line in account(op)]
        except Busy:
            continue
        except DevboxError as error:
            why = f"what a create without an answer made is not known: {error.what}"
            told.append(Told(box, why, failed=True))
    return told


def account(op: BoxOperation, token: str = "") -> list[str]:
    """Bring into the ledger what carries the box's token (or another one that it was asked for
    with), is over and is in no ledger; a line for each. That is done for a day, and for as long as
    something else of the box is there."""
    if not isinstance(op.provider, HasHistory) or not (op.box.handle or op.box.state.is_over):
        return []
    provider, asked = op.provider, token or op.box.token
    found = op.retried(lambda: provider.history(asked))
    lines = _seconds(op, found) if op.provider.may_double else _lives(op, found)
    for line in lines:
        op.note("found-ended", line)
    known = _handles(op)
    others = op.provider.may_double and any(
        seen.handle not in known and (seen.billed or seen.state in _ON_ITS_WAY) for seen in found
    )
    if op.box.unanswered is not None and not others and _is_old(op):
        op.retried(lambda: absence.check_place(op))
        op.amend(unanswered=None, unanswered_tries=0)
    return lines


def _seconds(op: BoxOperation, found: Sequence[Observation]) -> list[str]:
    """Resources beside the box's own, a record each: they may have run at the same time."""
    known, lines = _handles(op), []
    for seen in found:
        if seen.handle in known or not _is_past(seen):
            continue
        second = msgspec.structs.replace(
            op.box,
            id=uuid.uuid4().hex[:12],
            token=seen.token,
            handle=seen.handle,
            state=BoxState.TERMINATED,
            hardware=seen.hardware or op.box.hardware,
            price=seen.price or op.box.price,
            stage=seen.stage,
            message="a second one, made by a create without an answer",
            endpoint=None,
            started=seen.billed_since,
            updated=op.ws.clock(),
            unanswered=None,
            unanswered_tries=0,
        )
        stretch = billing.past(second, seen, (), op.ws.clock())
        if stretch and op.ws.store.boxes.add_past(second, stretch):
            lines.append(_line(seen, stretch))
    return lines


def _lives(op: BoxOperation, found: Sequence[Observation]) -> list[str]:
    """Earlier lives of the box itself, which its ledger lacks."""
    lines = []
    for seen in sorted(found, key=lambda seen: seen.billed_since or 0.0):
        if not _is_past(seen):
            continue
        there = op.ws.store.ledger.of_box(op.box.id)
        stretch = billing.past(op.box, seen, there, op.ws.clock())
        if stretch:
            op.apply(lambda record: Change(record.box, [stretch]))  # noqa: B023 - used at once
            lines.append(_line(seen, stretch))
    return lines


def _is_old(op: BoxOperation) -> bool:
    """Whether its unanswered create is so long ago that what it made is listed, if anything is."""
    age = op.ws.clock() - (op.box.unanswered or 0.0)
    return age > _LISTED and not absence.unsettled(op)


def _is_past(seen: Observation) -> bool:
    return not seen.billed and seen.billed_since is not None and seen.ended_at is not None


def _handles(op: BoxOperation) -> set[str]:
    boxes = op.ws.store.boxes.all(over=True)
    return {box.handle for box in boxes if box.provider == op.box.provider}


def _line(seen: Observation, stretch: Interval) -> str:
    end = stretch.end or stretch.start
    lasted, cost = duration(end - stretch.start), dollars(run_cost([stretch], 0, end))
    return (
        f"{clean(seen.handle, 100)} ran for {lasted} and ended by itself, cost {cost}: the answer "
        "to its create was lost"
    )

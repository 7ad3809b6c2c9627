"""Providers are asked about boxes, and their answers become our record."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from devbox.errors import DevboxError, Unavailable
from devbox.lifecycle import absence
from devbox.lifecycle.merge import Answer, is_only_lost, merge
from devbox.lifecycle.steps import apply, with_retries
from devbox.model import Box
from devbox.remote.config import ssh_config
from devbox.workspace import Workspace

# Boxes asked about at the same time, and how often and long a rate limit is waited for.
_AT_ONCE = 128
_LIMITED_ROUNDS = 3
_WORTH_WAITING = 30.0
# Seconds for which a lost box is looked for.
_SOUGHT = 30 * 24 * 3600.0


def apply_observation(ws: Workspace, box: Box, answer: Answer) -> Box:
    """Record what the provider said of `box`; the updated box. Another process may have moved on
    while it was asked, so the answer is merged into the present row (`merge`)."""
    known = absence.learned(ws, box) if answer.seen else box.connection
    now = ws.clock()
    before, after = apply(ws, box, lambda record: merge(record, answer, known, now))
    back = before.box.state.is_over and not after.state.is_over
    if back:
        renamed = f", as {after.name}" if after.name != before.box.name else ""
        ws.narrate(f"{before.box.name}: its provider shows it again: {after.state}{renamed}")
    moved = after.endpoint and after.endpoint != before.box.endpoint
    if back or (moved and not before.goal):
        _follow(ws, after)
    return after


def observe(ws: Workspace, box: Box) -> Box:
    """Ask the provider about a box that has a handle, and record its answer."""
    answer = with_retries(ws, lambda: absence.observe(ws, box))
    return apply_observation(ws, box, answer)


def _follow(ws: Workspace, box: Box) -> None:
    """The box moved, or came back, so ssh has to find it again. It is no reason to fail a look at
    many."""
    try:
        ssh_config.forget(box)
        ssh_config.publish(ws.store.boxes.all, narrate=ws.narrate)
    except (DevboxError, OSError) as error:
        ws.narrate(f"{box.name}: its new ssh address is not in place: {error}")


def refresh(ws: Workspace, boxes: Sequence[Box]) -> list[Box]:
    """Ask the providers about many boxes at once. A box whose provider cannot be reached keeps
    its last state, and says why in `unreachable`: silence is not an end. A provider that asks to be
    left alone for a little is, and then only what it refused is asked again."""
    asked = [b for b in boxes if b.handle and (not b.state.is_over or is_only_lost(b))]
    if not asked:
        return list(boxes)
    answers = _asked(ws, asked)
    for _ in range(_LIMITED_ROUNDS):
        limited = {box.id: wait for box in asked if (wait := _limited(answers[box.id]))}
        if not limited:
            break
        ws.sleep(max(limited.values()))
        answers |= _asked(ws, [box for box in asked if box.id in limited])
    fresh = []
    for box in boxes:
        answer = answers.get(box.id, box)
        if isinstance(answer, DevboxError):
            fresh.append(msgspec.structs.replace(box, unreachable=answer.what))
        elif isinstance(answer, Box):
            fresh.append(box)
        else:
            fresh.append(apply_observation(ws, box, answer))
    return fresh


def find_lost(ws: Workspace, provider: str | None = None) -> list[Box]:
    """The boxes that were lost within a month and are there again: a look from a place that did
    not know them, or a provider that was wrong for a while, is not the end of a box."""
    since = ws.clock() - _SOUGHT
    lost = [
        box
        for box in ws.store.boxes.all(over=True)
        if is_only_lost(box) and box.updated >= since and provider in (None, box.provider)
    ]
    return [box for box in refresh(ws, lost) if not box.state.is_over]


def _asked(ws: Workspace, boxes: Sequence[Box]) -> dict[str, Answer | DevboxError]:
    """Box id → its provider's answer, all of them asked at the same time."""
    refused: dict[str, DevboxError] = {}
    for box in boxes:
        try:
            ws.provider_of(box)  # made here once, and not by every thread
        except DevboxError as error:
            refused[box.id] = error

    def look(box: Box) -> Answer | DevboxError:
        if box.id in refused:
            return refused[box.id]
        try:
            return absence.observe(ws, box)
        except DevboxError as error:
            return error

    with ThreadPoolExecutor(min(_AT_ONCE, len(boxes))) as pool:
        return dict(zip((box.id for box in boxes), pool.map(look, boxes), strict=True))


def _limited(answer: Answer | DevboxError) -> float:
    """Seconds that a provider asked us to wait, as far as it is worth it; else 0."""
    wait = answer.retry_after if isinstance(answer, Unavailable) else None
    return wait if wait is not None and wait <= _WORTH_WAITING else 0.0

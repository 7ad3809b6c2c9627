"""The provider's answer becomes our record: the one place that turns observations into state.

Provider state wins. Two things it cannot say are kept from us: that we asked for an end or a
pause it has not confirmed yet (the box shows stopping or pausing, and costs), and when we last
heard of a resource it no longer knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from devbox.errors import DevboxError, Unavailable
from devbox.lifecycle import absence
from devbox.model import Box, BoxState
from devbox.providers.base import Observation
from devbox.remote.config import other_homes, ssh_config
from devbox.workspace import Workspace

# Seconds within which a provider's own start time and ours mean the same start.
_SAME_START = 1.0
# Boxes asked about at the same time, and how often and long a rate limit is waited for.
_AT_ONCE = 128
_LIMITED_ROUNDS = 3
_WORTH_WAITING = 30.0
# Seconds for which a lost box is looked for.
_SOUGHT = 30 * 24 * 3600.0
_ALIVE = (BoxState.PROVISIONING, BoxState.BUILDING, BoxState.STARTING, BoxState.RUNNING)


def apply_observation(ws: Workspace, box: Box, seen: Observation | None) -> Box:
    """Write what the provider said of `box` into the store and the ledger; the updated box. None
    is proof of its end (`absence`). One that is over stays so, but one that was lost and is there
    again lives on."""
    if box.state.is_over:
        if seen is None or seen.state.is_over or not is_only_lost(box):
            return box
        # A handle may be a name, and another's by now: then it is the token that differs.
        return _found_again(ws, box, seen) if seen.token in ("", box.token) else box
    now = ws.clock()
    work = ws.store.boxes.open_intents(box.id)
    goal = work[-1].goal if work else ""
    after = _vanished(box, now) if seen is None else _merged(box, seen, goal, now)
    if seen is None:
        # Gone by itself: we know of it only until `seen`. Asked for: it ended when that was last
        # at work, also when it is found long after.
        asked = work[-1].updated if work and after.state is BoxState.TERMINATED else box.seen
        ws.store.ledger.close(box.id, min(now, max(asked, box.seen)))
    else:
        after = msgspec.structs.replace(after, connection=absence.learned(ws, box))
        _bill(ws, box, after, seen, now)
    ws.store.boxes.update(after)
    if not work and after.endpoint and after.endpoint != box.endpoint:
        _follow(ws, after)
    if after.state is not box.state:
        detail = f" ({after.message})" if after.message else ""
        ws.store.events.add(box.id, "state", f"{box.state} → {after.state}{detail}", now)
    return after


def is_only_lost(box: Box) -> bool:
    """Its provider did not know it when it was last asked, and nobody gave up on it."""
    return box.state is BoxState.LOST and bool(box.handle) and not box.given_up


def _found_again(ws: Workspace, box: Box, seen: Observation) -> Box:
    """Its row and its bill go on from where they stopped; its name may be another's by now."""
    now = ws.clock()
    back = ws.store.boxes.revive(_merged(box, seen, "", now), alias=other_homes.free_alias)
    if seen.billed:
        ws.store.ledger.go_on(back, back.price, seen.billed_since, now)
    renamed = f", as {back.name}" if back.name != box.name else ""
    ws.store.events.add(box.id, "state", f"lost → {back.state} (it is there again{renamed})", now)
    ws.narrate(f"{box.name}: its provider shows it again: {back.state}{renamed}")
    _follow(ws, back)
    return back


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
    its last state, and says so in its message: silence is not an end. A provider that asks to be
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
            fresh.append(msgspec.structs.replace(box, message=f"unreachable: {answer.what}"))
        elif isinstance(answer, Box):
            fresh.append(box)
        else:
            # Another process may have moved on while we asked: absorb into the present row.
            fresh.append(apply_observation(ws, ws.store.boxes.get(box.id) or box, answer))
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


def _asked(ws: Workspace, boxes: Sequence[Box]) -> dict[str, Observation | DevboxError | None]:
    """Box id → its provider's answer, all of them asked at the same time."""
    refused: dict[str, DevboxError] = {}
    for box in boxes:
        try:
            ws.provider_of(box)  # made here once, and not by every thread
        except DevboxError as error:
            refused[box.id] = error

    def look(box: Box) -> Observation | DevboxError | None:
        if box.id in refused:
            return refused[box.id]
        try:
            return absence.observe(ws, box)
        except DevboxError as error:
            return error

    with ThreadPoolExecutor(min(_AT_ONCE, len(boxes))) as pool:
        return dict(zip((box.id for box in boxes), pool.map(look, boxes), strict=True))


def _limited(answer: Observation | DevboxError | None) -> float:
    """Seconds that a provider asked us to wait, as far as it is worth it; else 0."""
    wait = answer.retry_after if isinstance(answer, Unavailable) else None
    return wait if wait is not None and wait <= _WORTH_WAITING else 0.0


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


def _merged(box: Box, seen: Observation, goal: str, now: float) -> Box:
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


def _bill(ws: Workspace, before: Box, after: Box, seen: Observation, now: float) -> None:
    ledger = ws.store.ledger
    current = ledger.current(after.id)
    if not seen.billed:
        ended = now if seen.ended_at is None else min(seen.ended_at, now)
        if current is None and seen.billed_since is not None and seen.ended_at is not None:
            # A clock that is ahead moves both ends of the stretch; its length is right.
            _bill_unseen(ws, after, seen.billed_since - (seen.ended_at - ended), ended)
        ledger.close(after.id, ended)
        return
    start = now if seen.billed_since is None else min(seen.billed_since, now)
    restarted = (
        current is not None
        and seen.billed_since is not None
        and seen.billed_since > current.start + _SAME_START
        and (seen.ended_at is not None and seen.ended_at > current.start)
    )
    if restarted and seen.ended_at is not None:
        # It stopped and began again behind our back: two stretches, not one.
        ledger.close(after.id, min(seen.ended_at, start))
    elif current is not None and _priced_anew(before, after):
        start = now
    ledger.open(after, after.price, start)


def _bill_unseen(ws: Workspace, box: Box, start: float, end: float) -> None:
    """A whole stretch went by between two looks, as the provider tells afterwards."""
    last = max((i.end or 0.0 for i in ws.store.ledger.of_box(box.id)), default=0.0)
    if start >= last - _SAME_START and end > max(start, last):
        ws.store.ledger.open(box, box.price, start)


def _priced_anew(before: Box, after: Box) -> bool:
    return (before.hardware, before.price.micro_per_hour) != (
        after.hardware,
        after.price.micro_per_hour,
    )

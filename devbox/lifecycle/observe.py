"""Providers are asked about boxes, and their answers become our record."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import msgspec

from devbox.errors import Conflict, DevboxError, NotFound, SshError, Unavailable, had_no_effect
from devbox.jobs import status
from devbox.lifecycle import absence
from devbox.lifecycle.merge import Answer, is_only_lost, merge
from devbox.lifecycle.operation import BoxOperation
from devbox.model import Box, BoxState
from devbox.money import exposure
from devbox.remote.config import ssh_config
from devbox.state.boxes import Record
from devbox.workspace import Workspace

# Boxes asked about at the same time, and how often and long a rate limit is waited for.
_AT_ONCE = 128
_LIMITED_ROUNDS = 3
_WORTH_WAITING = 30.0
# Seconds for which a lost box is looked for.
_SOUGHT = 30 * 24 * 3600.0
_DAY = 20 * 3600.0  # seconds; an older time is told with its date


def observe(op: BoxOperation) -> Box:
    """Ask the provider about a box that has a handle, and record its answer."""
    return apply_observation(op, op.retried(lambda: absence.ask(op)))


def apply_observation(op: BoxOperation, answer: Answer) -> Box:
    """Record what the provider said of the box; the updated box. Another process may have moved on
    while it was asked, so the answer is merged into the present row (`merge`)."""
    known = absence.learned(op) if answer.seen else op.box.connection
    now = op.ws.clock()
    before = op.apply(lambda record: merge(record, answer, known, now))
    back = before.box.state.is_over and not op.box.state.is_over
    if back:
        renamed = f", as {op.box.name}" if op.box.name != before.box.name else ""
        told = f"its provider shows it again: {op.box.state}{renamed}"
        op.ws.narrate(f"{before.box.name}: {told}")
    _note_own_end(op, before)
    moved = op.box.endpoint and op.box.endpoint != before.box.endpoint
    if back or (moved and not before.goal):
        _follow(op)
    return op.box


def _note_own_end(op: BoxOperation, before: Record) -> None:
    """A box that stopped although nobody asked for it here is news to its user."""
    if before.goal or before.box.state is not BoxState.RUNNING:
        return
    more = f": {op.box.message}" if op.box.message else ""
    ordered = [run for run in op.ws.store.runs.latest(box_id=op.box.id) if status.then(run)]
    more += f"; run {ordered[0].id} was to have that done after it" if ordered else ""
    if op.box.state is BoxState.PAUSED:
        op.note("found-paused", f"it is paused, and was not from here{more}")
    elif op.box.state.is_over or op.box.state is BoxState.FAILED:
        op.note("found-ended", f"it is {op.box.state}, and was not ended from here{more}")


def _follow(op: BoxOperation) -> None:
    """The box moved, or came back, so ssh has to find it again. It is no reason to fail a look at
    many."""
    try:
        ssh_config.forget(op.box)
        ssh_config.publish(op.ws.store.boxes.all, narrate=op.ws.narrate)
    except (DevboxError, OSError) as error:
        op.narrate(f"its new ssh address is not in place: {error}")


def refresh(ws: Workspace, boxes: Sequence[Box]) -> list[Box]:
    """Ask the providers about many boxes at once. A box whose provider cannot be reached keeps
    its last state, and says why in `unreachable`: silence is not an end. A provider that asks to be
    left alone for a little is, and then only what it refused is asked again."""
    looks = {
        box.id: BoxOperation(ws, box)
        for box in boxes
        if box.handle and (not box.state.is_over or is_only_lost(box))
    }
    if not looks:
        return list(boxes)
    answers = _asked(looks)
    for _ in range(_LIMITED_ROUNDS):
        limited = {key: wait for key, answer in answers.items() if (wait := _limited(answer))}
        if not limited:
            break
        ws.sleep(max(limited.values()))
        answers |= _asked({key: looks[key] for key in limited})
    fresh = []
    for box in boxes:
        answer = answers.get(box.id)
        if answer is None:
            fresh.append(box)
        elif isinstance(answer, DevboxError):
            fresh.append(msgspec.structs.replace(box, unreachable=answer.what))
        else:
            fresh.append(apply_observation(looks[box.id], answer))
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


def why_silent(ws: Workspace, error: DevboxError) -> DevboxError:
    """The same error, or one that says what became of the box it is about: it paused itself, or
    ended. The provider is asked only of a box that we take to be running."""
    box = ws.store.boxes.get(error.box) if isinstance(error, SshError) and error.box else None
    if box is None or box.state is not BoxState.RUNNING:
        return error
    asked = ws.clock()
    try:
        (seen,) = refresh(ws, [box])
    except DevboxError:
        return error
    if seen.state is BoxState.PAUSED:
        return Conflict(
            f"{box.name} paused itself{_when(ws, box, asked)}, or was paused from another computer",
            means="it costs no compute now",
            fix=f"bring it back with: devbox resume {box.name}",
        )
    if seen.state.is_over:
        return NotFound(
            f"{box.name} ended{_when(ws, box, asked)}"
            + (f": {seen.message}" if seen.message else ""),
            fix=f"make it again with: devbox up {box.name}",
        )
    if seen.state is not BoxState.RUNNING:
        return Conflict(
            f"{box.name} is {seen.state}, not running",
            fix=f"wait for it with: devbox status {box.name} --wait",
        )
    return error


@contextmanager
def refusable(op: BoxOperation, undo: Callable[[], object] = lambda: None) -> Iterator[None]:
    """A change of a box that exists. When it is refused, `undo` runs and the goal is closed, as
    far as nothing is left to do; whatever went wrong, the error says what the box is and costs."""
    try:
        yield
    except DevboxError as error:
        if had_no_effect(error):
            undo()
            op.reload()
            with suppress(DevboxError):  # why: none is no reason to hide the refusal
                apply_observation(op, absence.ask(op))
            if op.reload().state.is_settled:
                op.finish("refused")
        error.means = standing(op)
        raise


def standing(op: BoxOperation) -> str:
    """What the box is and costs, for an error about a change of it."""
    box = op.reload()
    found = exposure.of(op.ws, box)
    if box.state is BoxState.RUNNING and found.now:
        return f"{box.name} still runs on {box.hardware} and costs {found.rate}"
    return f"{box.name} is {box.state}: {found.sentence}"


def _asked(looks: dict[str, BoxOperation]) -> dict[str, Answer | DevboxError]:
    """Box id → its provider's answer, all of them asked at the same time."""
    refused: dict[str, DevboxError] = {}
    for key, op in looks.items():
        try:
            op.ws.provider_of(op.box)  # made here once, and not by every thread
        except DevboxError as error:
            refused[key] = error

    def look(key: str) -> Answer | DevboxError:
        if key in refused:
            return refused[key]
        try:
            looks[key].provider.renew_prices()
            return absence.ask(looks[key])
        except DevboxError as error:
            return error

    with ThreadPoolExecutor(min(_AT_ONCE, len(looks))) as pool:
        return dict(zip(looks, pool.map(look, looks), strict=True))


def _limited(answer: Answer | DevboxError) -> float:
    """Seconds that a provider asked us to wait, as far as it is worth it; else 0."""
    wait = answer.retry_after if isinstance(answer, Unavailable) else None
    return wait if wait is not None and wait <= _WORTH_WAITING else 0.0


def _when(ws: Workspace, box: Box, asked: float) -> str:
    """' at 14:02', by this computer's clock, where the provider told: an end that is not that of
    our own look at `asked`. Else ''."""
    ends = [each.end for each in ws.store.ledger.of_box(box.id) if each.end is not None]
    if not ends or max(ends) >= asked:
        return ""
    form = "%H:%M" if asked - max(ends) < _DAY else "%d %b %H:%M"
    return time.strftime(f" at {form}", time.localtime(max(ends)))

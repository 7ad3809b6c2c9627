"""What a box costs now, and what it may start to cost without another command.

The one answer for Ctrl-C, `ls`, `status`, errors, reports and the dashboard. "Nothing" is said only
of a box that its provider cannot begin to bill by itself: a create in flight, an image that builds,
a sleeping Space that a visit wakes and an end that is not confirmed are not nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from devbox.errors import DevboxError
from devbox.model import Box, BoxState, Interval, Price
from devbox.state.boxes import Intent
from devbox.text import dollars
from devbox.workspace import Workspace

_WAITING = {
    BoxState.PROVISIONING: "it waits for its provider, which starts it without being asked again",
    BoxState.BUILDING: "its image builds, and it starts by itself after that",
    BoxState.STARTING: "it is starting",
    BoxState.PAUSING: "its pause is not confirmed",
    BoxState.STOPPING: "its end is not confirmed",
}


class Exposure(msgspec.Struct, frozen=True):
    """now: the price that is billed at this moment; None when nothing is. may: the price that may
    begin to be billed by itself; None when nothing can. why: what that hangs on."""

    now: Price | None = None
    may: Price | None = None
    why: str = ""

    @property
    def is_nothing(self) -> bool:
        return self.now is None and self.may is None

    @property
    def rate(self) -> str:
        """For a column: '$1.80/h', 'may $1.80/h' or '–'."""
        if self.now:
            return _rate(self.now)
        return f"may {_rate(self.may)}" if self.may else "–"

    @property
    def sentence(self) -> str:
        """For an error, without a full stop."""
        if self.now:
            return f"it is still costing {_rate(self.now)}"
        if self.may:
            return f"it may cost {_rate(self.may)}: {self.why}"
        return "it costs nothing now"


def exposure(
    box: Box, interval: Interval | None, goals: Sequence[Intent], *, asked: bool, wakes: str = ""
) -> Exposure:
    """interval, goals: the box's open ones. asked: any step at its provider was ever begun. wakes:
    what may start it by itself as it is, by its provider; '' for nothing."""
    if interval:
        return Exposure(now=interval.price)
    why = _why(box, goals, asked=asked, wakes=wakes)
    if not why or box.price.micro_per_hour == 0:
        return Exposure()
    return Exposure(may=box.price, why=why)


def of(ws: Workspace, box: Box) -> Exposure:
    """The box's exposure, from what is remembered; no provider is called."""
    return of_all(ws, [box])[box.id]


def of_all(ws: Workspace, boxes: Iterable[Box]) -> dict[str, Exposure]:
    """Box id → exposure, from what is remembered; no provider is called."""
    store = ws.store
    current = store.ledger.all_current()
    goals: dict[str, list[Intent]] = {}
    for intent in store.boxes.open_intents():
        goals.setdefault(intent.box_id, []).append(intent)
    found = {}
    woken: dict[tuple[object, ...], str] = {}  # boxes alike are asked about once
    for box in boxes:
        open_ = goals.get(box.id, [])
        interval = current.get(box.id)
        asked = bool(box.handle) or interval is not None or store.boxes.was_asked_for(box.id)
        wakes = ""
        if not interval and _may_wake(box):
            made = msgspec.json.encode(box.connection)
            alike = box.provider, box.project, box.root, made, box.stage
            if alike not in woken:
                woken[alike] = _wakes(ws, box)
            wakes = woken[alike]
        found[box.id] = exposure(box, interval, open_, asked=asked, wakes=wakes)
    return found


def _why(box: Box, goals: Sequence[Intent], *, asked: bool, wakes: str) -> str:
    if box.given_up:
        return "its end was never confirmed"
    if box.state.is_over or not asked:
        return ""
    unheard = box.state is BoxState.FAILED and box.unanswered is not None
    if unheard or (not box.handle and box.state in (BoxState.PROVISIONING, BoxState.STOPPING)):
        return "its provider was asked to make it, and whether it did is not known yet"
    goal = goals[-1] if goals else None
    if box.state is BoxState.PAUSED and goal and goal.goal == "running" and goal.step == "resume":
        return "it was asked to run again"
    return _WAITING.get(box.state, wakes)


def _may_wake(box: Box) -> bool:
    return box.state in (BoxState.PAUSED, BoxState.FAILED) and bool(box.handle)


def _wakes(ws: Workspace, box: Box) -> str:
    try:
        return ws.provider_of(box).wakes(box.stage)
    except DevboxError:
        return ""  # why: its client is not installed here; what was last seen is paused


def _rate(price: Price) -> str:
    return dollars(price.micro_per_hour, per_hour=True)

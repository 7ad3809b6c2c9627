"""What the feed says that wants an answer, each once: what is told to the user, and which boxes
are saved because their watchdog warned. Pure: states in, sentences out."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Literal, NamedTuple

from devbox.box.probes.gpu.health import HOT, Health
from devbox.model import BoxState, RunState
from devbox.text import brief
from devbox.text_layout import plain
from devbox.tui.feed import BoxView, Feed

if TYPE_CHECKING:
    from devbox.wire.messages import Verdict
from devbox.model import Box

Severity = Literal["information", "warning", "error"]

PAUSE_NEAR = 300.0  # seconds
CEILING_NEAR = 900.0
_THROTTLED_FOR = 10.0  # seconds before it is told
_REMEMBERED = 1000
_AGAIN = 600.0  # seconds until throttling is told again
# Those that cost speed; power caps and application clocks are settings, not faults.
_THROTTLES = {"hw_slowdown", "sw_thermal", "hw_thermal", "hw_power_brake"}


class Notice(NamedTuple):
    title: str
    text: str
    severity: Severity


class Notices:
    """Remembers what it told."""

    def __init__(self) -> None:
        self._states: dict[str, BoxState] = {}
        self._runs: dict[str, RunState] = {}
        self._told: set[tuple[str, str, float]] = set()
        self._health: dict[str, Health] = {}
        self._hot: dict[str, float] = {}
        self._hot_told: dict[str, float] = {}

    def look(self, feed: Feed, now: float, ours: Collection[str] = ()) -> list[Notice]:
        """What became so since the last look; the first one only takes note of states and runs.
        ours: what names boxes (`Operations.recent`) that this dashboard works on, whose states are
        no news."""
        found: list[Notice] = []
        for view in feed.views:
            state = self._state(view)
            known = view.box.name in ours or view.box.ref in ours
            found += [] if known else state
            found += self._pause(view, feed.verdict(view.box.id), now)
            found += self._ceiling(view, now)
            found += self._throttling(feed, view, now)
            found += self._gpu_faults(feed, view, now)
        found += self._run_ends(feed, ours)
        return found

    def _state(self, view: BoxView) -> list[Notice]:
        box = view.box
        before, self._states[box.id] = self._states.get(box.id), box.state
        if before is None or before is box.state:
            return []
        why = plain(box.message, 300)
        if box.state is BoxState.FAILED:
            what = "its image did not build" if before is BoxState.BUILDING else "it failed"
            return [Notice(box.name, f"{what}: {why}" if why else what, "error")]
        if box.state is BoxState.LOST:
            return [Notice(box.name, "its provider no longer knows it", "error")]
        if box.state in (BoxState.PAUSED, BoxState.RUNNING):
            return [Notice(box.name, f"is {box.state}", "information")]
        return []

    def _pause(self, view: BoxView, verdict: Verdict | None, now: float) -> list[Notice]:
        if verdict is None or verdict.pauses_at is None or view.box.state is not BoxState.RUNNING:
            return []
        left = verdict.pauses_at - now
        near = verdict.state in ("idle", "warned") and verdict.cause != "ceiling"
        # to the minute: the time moves a little with every answer
        if not near or left > PAUSE_NEAR or not self._once(view, "pause", verdict.pauses_at // 60):
            return []
        why = "; ".join(plain(reason) for reason in verdict.reasons[:2])
        hint = "" if verdict.cause == "budget" else " (h keeps it)"
        return [Notice(view.box.name, f"pauses in {brief(left)}: {why}{hint}", "warning")]

    def _ceiling(self, view: BoxView, now: float) -> list[Notice]:
        box = view.box
        if box.deadline is None or box.state is not BoxState.RUNNING:
            return []
        left = box.deadline - now
        if not 0 < left <= CEILING_NEAR or not self._once(view, "ceiling", box.deadline):
            return []
        return [Notice(box.name, f"reaches its max_uptime in {brief(left)}", "warning")]

    def _throttling(self, feed: Feed, view: BoxView, now: float) -> list[Notice]:
        cell = feed.cell(view.box.id)
        sample = cell.sample if cell else None
        reasons = {
            reason
            for gpu in (sample.gpus or () if sample else ())
            for reason in gpu.throttle or ()
            if reason in _THROTTLES
        }
        box_id = view.box.id
        if not reasons:
            self._hot.pop(box_id, None)
            return []
        since = self._hot.setdefault(box_id, now)
        if now - since < _THROTTLED_FOR or now - self._hot_told.get(box_id, -_AGAIN) < _AGAIN:
            return []
        self._hot_told[box_id] = now
        words = ", ".join(sorted(reasons)).replace("_", " ")
        return [Notice(view.box.name, f"GPU runs below its clocks: {words}", "warning")]

    def _gpu_faults(self, feed: Feed, view: BoxView, now: float) -> list[Notice]:
        """A GPU that is lost, memory errors that grow, an Xid. Heat has its own notice."""
        cell = feed.cell(view.box.id)
        if cell is None or cell.sample is None or cell.sample.gpus is None:
            return []
        rows = [gpu._asdict() for gpu in cell.sample.gpus]
        told = self._health.setdefault(view.box.id, Health()).observe(rows, now)
        return [Notice(view.box.name, text, "error") for kind, text in told if kind != HOT]

    def _run_ends(self, feed: Feed, ours: Collection[str]) -> list[Notice]:
        found = []
        for run in feed.recent:
            before = self._runs.get(run.id)
            if before is None or before.is_over or not run.state.is_over:
                continue
            if run.state is RunState.CANCELLED and run.box_name in ours:
                continue
            good = run.state is RunState.SUCCEEDED
            severity: Severity = "information" if good else "error"
            found.append(Notice(run.box_name, f"run {run.id} {run.state}", severity))
        self._runs = {run.id: run.state for run in feed.recent}
        return found

    def _once(self, view: BoxView, kind: str, mark: float) -> bool:
        key = (view.box.id, kind, mark)
        # a minute to either side is the same pause
        if any((view.box.id, kind, mark + d) in self._told for d in (-1, 0, 1)):
            return False
        if len(self._told) >= _REMEMBERED:
            self._told.clear()
        self._told.add(key)
        return True


RECENT = 300.0  # seconds, by the box's clock; an older warning had its answer or its pause
_WARNED, _CALLED_OFF = "warning", "called-off"


class StandBy:
    """Stands by for boxes, as `devbox sync watch` does for one: when a box's watchdog warns that it
    will pause it, what the sync rules name is fetched before. Remembers which warnings had their
    answer."""

    def __init__(self) -> None:
        self._answered: dict[str, float] = {}

    def look(self, feed: Feed) -> list[Box]:
        """The boxes that have warned since the last look and still mean it."""
        found = []
        for view in feed.views:
            cell = feed.cell(view.box.id)
            if cell is None or cell.sample is None or view.box.state is not BoxState.RUNNING:
                continue
            words = [e for e in cell.events if e.kind in (_WARNED, _CALLED_OFF)]
            if not words or words[-1].kind != _WARNED:
                continue
            said = words[-1].t
            if cell.sample.t - said > RECENT or said <= self._answered.get(view.box.id, 0.0):
                continue
            self._answered[view.box.id] = said
            found.append(view.box)
        return found

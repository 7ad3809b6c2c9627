"""A box in its present life: what is done on it, and its watchdog, which is the real one but for
what measures the machine: samples are made up from what is done."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from devbox.box.notices import about, outbox
from devbox.box.watchdog import arm, config, pause_recipe, policy
from devbox.box.watchdog.agent import _is_amended
from devbox.box.watchdog.deadline import Moment
from devbox.box.watchdog.escalation import CALM, PAUSING, WARNED, Report, Watchdog
from devbox.wire.codec import plain
from devbox.wire.messages import BoxEvent, PauseRecipe, Verdict, WatchdogConfig
from devbox.wire.notices import Notice
from tests.idle.traces import GB, Sample, gpu, sample
from tests.simulation.leap import is_even, leap

STEP = 30.0  # seconds between samples where something changes
NEAR = 5.0  # seconds between samples once a pause is announced
HELD = "held"
#: what a user or a program does, as it shows in one sample
USES: dict[str, dict[str, Any]] = {
    "job": {"jobs": ["r1"]},
    "gpu": {"gpus": [gpu(97, 20 * GB)]},
    "loading": {"cpu": {"util": 60, "count": 8}, "gpus": [gpu(1, 0.3 * GB)]},
    "download": {"net": {"rx_bps": 9e6, "tx_bps": 2e5}},
    "typing": {},
    "serving": {"requests": 5, "in_flight": 1},
}
#: what looks like use and is none
OTHER: dict[str, dict[str, Any]] = {HELD: {"gpus": [gpu(0, 20 * GB)]}, "editor": {}, "quiet": {}}


class Phase(NamedTuple):
    """What is done from `start` to `end`, unix seconds."""

    start: float
    end: float
    what: str


def shown(phase: Phase | None, at: float) -> Sample:
    """What the sampler would see at `at`, while that is done."""
    what = phase.what if phase else "quiet"
    typed = at if what == "typing" else 0.0
    # 720 bytes a minute of keep-alives
    lines = 12.0 * (at - phase.start) if phase and what == "editor" else 0.0
    ssh = {"sessions": 1, "rx_bytes": lines, "tx_bytes": lines}
    return sample(tty={"count": 1, "input_at": typed}, ssh=ssh, **{**USES, **OTHER}[what])


class Stop(NamedTuple):
    """That the watchdog asked for its first pause: `at`; idle: seconds without use by then, of
    which the policy allows `after`; cause: of its rung; busy: what was in use."""

    box: str
    at: float
    idle: float
    after: float
    cause: str
    busy: str
    warned: bool


class Done(NamedTuple):
    report: Report


class Machine:
    """root: of its own files. clock: the true time. post: posts a notice. execute: runs a command
    of the box, by which its main process may end; whether it did. environ: of the box."""

    def __init__(
        self,
        name: str,
        root: Path,
        clock: Callable[[], float],
        phases: list[Phase],
        *,
        post: Callable[[Notice], outbox.Answer],
        execute: Callable[[Sequence[str]], bool],
        environ: dict[str, str],
        wake: Callable[[Machine, float], None],
    ) -> None:
        self.name, self.root, self._clock = name, root, clock
        self.phases, self._post, self._execute = phases, post, execute
        self._environ, self._wake = environ, wake
        self.booted = clock()
        self.ahead = 0.0  # seconds by which its wall clock is wrong
        self.events: list[BoxEvent] = []
        self.stops: list[Stop] = []
        self.noted: list[Notice] = []
        self.watched = self.armed = False
        self._posting = self._kept = False
        self.lost_post = False  # it stopped with notices that its receiver did not take
        self.appointment = 0
        self.steps = 0
        self._looked = self.booted
        self._fresh = self.booted  # when idle time began to be counted afresh
        self._recent: list[policy.State] = []
        self.verdict: Verdict | None = None
        root.mkdir(parents=True)

    def moment(self) -> Moment:
        now = self._clock()
        return Moment(now + self.ahead, now - self.booted)

    # What reaches it from outside ----------------------------------------------

    def guard(self, orders: bytes) -> None:
        """It follows the orders it was made with, from its first second."""
        self.arm(plain(arm.first_orders(orders, self.moment().wall, self.moment())))

    def cut(self) -> None:
        """It ends, whatever its watchdog has yet to do."""
        self.lost_post = self._posting

    def arm(self, body: dict[str, Any]) -> None:
        now = self.moment()
        given = config.receive(self.root, body, now)
        if self.armed and _is_amended(self.given, given):
            ceiling, budget = config.ceiling(given), config.allowance(given)
            self.given, self.state = given, self.state._replace(ceiling=ceiling, budget=budget)
            self._wake(self, self._clock())
            return
        self.given = given
        self.state = policy.begin(now, config.ceiling(given), config.allowance(given))
        self.ladder = Watchdog(
            given.policy,
            given.box,
            self,
            can_pause=given.pause is not None,
            start=lambda work: Done(work()),
        )
        self.watched = self.armed = True
        self._fresh = self._looked = self._clock()
        self._recent = []
        self.event("armed", "by this computer")
        self._wake(self, self._clock())

    def keep(self, seconds: float) -> float:
        """As the verb of the box half does; the seconds that are granted."""
        now = self.moment()
        before = self._hold(now)
        granted = max(seconds, (before or 0.0) - now.mono)
        ceiling = config.ceiling(self.given)
        if ceiling:
            granted = max(0.0, min(granted, ceiling.over(now) - now.mono))
        config.set_hold(self.root, now.mono + granted, now)
        self._kept = True
        self._wake(self, self._clock())
        return granted

    def jump(self, seconds: float) -> None:
        """Its wall clock is set by so much."""
        self._pass_time(self._clock())
        self.ahead += seconds
        if seconds > 60:
            self._fresh = self._clock()
        self._wake(self, self._clock())

    def lose_watchdog(self) -> None:
        self.watched = False

    def _hold(self, now: Moment) -> float | None:
        return config.hold(self.root, now) if self._kept else None

    # What is done on it ----------------------------------------------------------

    def now_used(self, at: float) -> str:
        """What is done now that counts as use."""
        phase = self._phase(at)
        return phase.what if phase and phase.what in USES else ""

    def last_use(self, at: float) -> float:
        """When it was last in use, by what was really done on it."""
        if self.now_used(at):
            return at
        ends = [self._fresh]
        for phase in self.phases:
            if phase.start >= at:
                break
            if phase.what in USES:
                ends.append(min(phase.end, at))
            elif phase.what == HELD:
                # A load and a release of memory are use, and so is what is held for long enough.
                begun = max(phase.start, self._fresh)
                ends.append(min(phase.end, at, begun + self.given.policy.stuck_after))
                ends += [phase.end] if phase.end <= at else []
        return max(ends)

    def _phase(self, at: float) -> Phase | None:
        index = bisect.bisect_right(self.phases, at, key=lambda phase: phase.start) - 1
        found = self.phases[index] if index >= 0 else None
        return found if found and at < found.end else None

    # Its watchdog -----------------------------------------------------------------

    def step(self) -> float:
        """One sample, and what follows from it; when the next is due."""
        now, at = self.moment(), self._clock()
        self.steps += 1
        given = self.given
        self._pass_time(at)
        state = policy.observe(given.policy, self.state, shown(self._phase(at), at), now)
        state = state._replace(hold=self._hold(now))
        verdict = policy.judge(given.policy, state, now)
        self.state = state
        self.verdict = self.ladder.tick(verdict, state, now)
        self._deliver()
        rung = self.ladder.rung
        if rung.name in (CALM, WARNED) and verdict.state != PAUSING:
            self._recent = [*self._recent[-2:], state]
            return self._due(at, now)
        self._recent = []
        return at + (NEAR if rung.attempts else 1.0)

    def _pass_time(self, at: float) -> None:
        """Bring the state to just before `at`, over time in which nothing changed."""
        passed, self._looked = at - self._looked, at
        if passed > STEP and self.watched:
            moved = leap(self._recent, passed / STEP - 1)
            assert moved is not None, "it was looked away from a box that changes"
            self.state, self._recent = moved, []

    def _due(self, at: float, now: Moment) -> float:
        """When something may change; after one step where the last ones were not alike."""
        due = self._changes(at, now)
        if is_even(self._recent):
            return due
        return min(due, at + STEP)

    def _changes(self, at: float, now: Moment) -> float:
        """The next moment at which the verdict or what is done may change."""
        given, state = self.given, self.state
        moments = [edge for phase in self.phases for edge in (phase.start, phase.end)]
        found = [edge for edge in moments if edge > at]
        found += [edge - 1 for edge in found if edge - 1 > at]
        tuning = policy.tuning_of(given.policy)
        last = policy.last_use(given.policy, state, now)
        moves = len(self._recent) > 1 and last > policy.last_use(
            given.policy, self._recent[-2], now._replace(mono=now.mono - STEP)
        )
        monos = []
        if given.policy.enabled and not moves:
            idle = max(last + given.policy.after, state.hold or 0.0)
            monos += [idle, idle - min(given.policy.warn, given.policy.after - tuning.window)]
        for end in (state.ceiling, state.budget):
            if end:
                monos += [end.due(now), end.due(now) - end.warn]
        monos += [g.last_use() + given.policy.stuck_after for _, g in state.gpus.known if g.held]
        found += [at + mono - now.mono for mono in monos if mono > now.mono]
        if self._posting:
            found.append(at + 300)
        return min(found, default=at + 12 * 3600)

    # The effects of its ladder -------------------------------------------------------

    def event(self, kind: str, message: str) -> None:
        seq = self.events[-1].seq + 1 if self.events else 1
        event = BoxEvent(seq, self.moment().wall, kind, message[:900])
        self.events.append(event)
        notify = self.given.notify
        notice = about.event(event, self.given.box, notify)
        if notice is not None and outbox.put(self.root, notify, notice):
            self.noted.append(notice)
            self._posting = True

    def say(self, message: str) -> None:
        """Nobody reads its terminals."""

    def at_risk(self) -> str:
        return ""

    def save(self) -> Report:
        return Report(True, "no save command", "")

    def dismiss(self) -> None:
        """Nobody gave it an order to stop once a run has ended."""

    def pause(self) -> Report:
        at = self._clock()
        if self.ladder.rung.attempts == 1:
            idle = at - self.last_use(at)
            hold = self._hold(self.moment())
            if hold is not None:
                idle = min(idle, at - (self.booted + hold) + self.given.policy.after)
            kinds = [event.kind for event in self.events]
            after = kinds[len(kinds) - kinds[::-1].index("armed") :]
            self.stops.append(
                Stop(
                    self.given.box,
                    at,
                    idle,
                    self.given.policy.after,
                    str(self.ladder.rung.cause),
                    self.now_used(at),
                    "warning" in after,
                )
            )
        self._deliver()
        self.lost_post = self._posting
        recipe = self.given.pause
        assert recipe is not None
        outcome = self._attempt(recipe)
        return Report(outcome.ok, outcome.detail)

    def _attempt(self, recipe: PauseRecipe) -> pause_recipe.Outcome:
        if recipe.kind == "http":
            return pause_recipe.attempt(recipe, self._environ)
        ok = self._execute(recipe.argv)
        return pause_recipe.Outcome(ok, "accepted" if ok else "no such process waits for it")

    def _deliver(self) -> None:
        """As the courier does."""
        if self._posting and outbox.is_due(self.root, self.moment().wall):
            outbox.deliver(self.root, self._post, lambda: self.moment().wall)
            self._posting = outbox.waiting(self.root).notices > 0

    @property
    def asks(self) -> bool:
        """Whether a pause was asked for and the box lives on."""
        return self.watched and self.ladder.rung.name == PAUSING

    given: WatchdogConfig
    state: policy.State
    ladder: Watchdog

"""The idle policy run over recorded samples: when it would have warned and paused, and why."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from devbox.box.json_file import number
from devbox.box.watchdog import policy as idle
from devbox.box.watchdog.deadline import Ceiling, Moment
from devbox.wire.codec import JsonObject
from devbox.wire.messages import Policy

_JUDGE_EVERY = 5.0  # as the box's agent does


class Change(msgspec.Struct, frozen=True):
    """From `at` (unix seconds) on, the box was in this state for these reasons. state: those of a
    verdict, and paused."""

    at: float
    state: str
    reasons: tuple[str, ...]
    idle_for: float


class Pause(msgspec.Struct, frozen=True):
    """Off from `start` to `end` (unix seconds). cause: idle or ceiling. needed: what would have
    needed a resume then; empty when the trace ends first."""

    start: float
    end: float
    cause: str
    needed: str = ""


class Replay(msgspec.Struct, frozen=True):
    """start, end: unix seconds of the trace. samples: how many were used."""

    start: float
    end: float
    samples: int
    changes: tuple[Change, ...]
    pauses: tuple[Pause, ...]

    @property
    def off(self) -> float:
        """Seconds the box would have been off."""
        return sum(pause.end - pause.start for pause in self.pauses)


def replay(
    policy: Policy, samples: Iterable[JsonObject], *, max_uptime: float | None = None
) -> Replay:
    """Run the policy over samples (devbox.wire.messages.Sample) in the order they come.

    A sample without a time is left out, and a step back in time counts as none. After an idle
    pause the box is off until the trace shows use again; after the ceiling, to the end.
    max_uptime: seconds from the first sample; None: no ceiling.
    """
    run = _Run(policy, max_uptime)
    for sample in samples:
        t = number(sample.get("t"))
        if t is not None:
            run.feed(sample, t)
    return run.result()


class _Run:
    def __init__(self, policy: Policy, max_uptime: float | None) -> None:
        self._policy, self._max_uptime = policy, max_uptime
        self._state: idle.State | None = None
        self._start = self._t = self._mono = 0.0
        self._judged = float("-inf")
        self._count = 0
        self._changes: list[Change] = []
        self._pauses: list[Pause] = []
        self._off: Pause | None = None

    def feed(self, sample: JsonObject, t: float) -> None:
        if self._state is None:
            self._start = self._t = t
        self._mono += max(0.0, t - self._t)
        self._t = t
        now = Moment(self._start + self._mono, self._mono)
        if self._state is None:
            self._state = idle.begin(now, self._ceiling(now))
        self._state = idle.observe(self._policy, self._state, sample, now)
        self._count += 1
        often = self._policy.after < 12 * _JUDGE_EVERY
        if often or self._mono - self._judged >= _JUDGE_EVERY:
            self._judged = self._mono
            self._judge(self._state, now)

    def result(self) -> Replay:
        end = self._start + self._mono
        if self._off:
            self._pauses.append(msgspec.structs.replace(self._off, end=end))
        return Replay(self._start, end, self._count, tuple(self._changes), tuple(self._pauses))

    def _judge(self, state: idle.State, now: Moment) -> None:
        if self._off is not None:
            uses = idle.uses(self._policy, state, now)
            if self._off.cause == idle.CEILING or not uses:
                return
            self._pauses.append(msgspec.structs.replace(self._off, end=now.wall, needed=uses[0]))
            self._off = None
        verdict = idle.judge(self._policy, state, now)
        name = "paused" if verdict.state == "pausing" else verdict.state
        if name == "paused":
            self._off = Pause(now.wall, now.wall, verdict.cause or idle.IDLE)
        if not self._changes or self._changes[-1].state != name:
            self._changes.append(Change(now.wall, name, verdict.reasons, verdict.idle_for))

    def _ceiling(self, now: Moment) -> Ceiling | None:
        if self._max_uptime is None:
            return None
        save = self._policy.save_timeout if self._policy.save_command else 0.0
        deadline = now.wall + self._max_uptime
        return Ceiling(deadline, self._max_uptime, now, self._max_uptime, save)

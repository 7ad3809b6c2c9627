"""Made-up boxes, second by second, and the policy run over them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from devbox.box.watchdog import policy as idle
from devbox.box.watchdog.deadline import Ceiling, Moment
from devbox.box.watchdog.policy import State
from devbox.wire.messages import Policy, Verdict

GB = 1 << 30
MINUTE, HOUR = 60, 3600
T0 = 1_750_000_000.0
EVERY = 5  # seconds between samples, where a second shows no more
Sample = dict[str, Any]


def gpu(util: float | None = 0, used: float | None = 0, **more: Any) -> dict[str, Any]:
    row = {"index": 0, "uuid": "GPU-0", "util": util, "mem_used": used, "mem_total": 24 * GB}
    return {**row, "processes": [], **more}


def sample(**parts: Any) -> Sample:
    """A quiet box with one GPU; parts replace its leaves."""
    quiet: Sample = {
        "cpu": {"util": 1.0, "count": 8},
        "net": {"rx_bps": 800, "tx_bps": 900},
        "ssh": {"sessions": 0, "rx_bytes": 5000, "tx_bytes": 9000},
        "tty": {"count": 0, "input_at": None},
        "requests": None,
        "jobs": [],
        "gpus": [gpu()],
    }
    return {**quiet, **parts}


class Outcome(NamedTuple):
    """verdicts: (second, verdict) of every second judged; pauses: the second it was due, if so."""

    verdicts: list[tuple[int, Verdict]]
    state: State
    pauses: int | None

    def state_at(self, second: int) -> str:
        return next(v.state for s, v in self.verdicts if s >= second)


def run(
    policy: Policy,
    samples: Iterable[Sample | None],
    *,
    ceiling: Ceiling | None = None,
    hold: float | None = None,
    every: int = EVERY,
    clock: Callable[[int], Moment] = lambda second: Moment(T0 + second, 1000.0 + second),
) -> Outcome:
    """One sample every `every` seconds until the pause is due. hold: seconds from the start."""
    state = idle.begin(clock(0), ceiling)
    if hold is not None:
        state = state._replace(hold=clock(0).mono + hold)
    verdicts = []
    for index, one in enumerate(samples):
        second = index * every
        state, verdict = idle.step(policy, state, one, clock(second))
        verdicts.append((second, verdict))
        if verdict.state == "pausing":
            return Outcome(verdicts, state, second)
    return Outcome(verdicts, state, None)


def minutes(count: float, make: Callable[[int], Sample | None], *, every: int = EVERY) -> list[Any]:
    """`make(second)` for so many minutes."""
    return [make(second) for second in range(0, int(count * MINUTE), every)]


def ceiling(seconds: float, *, save: float = 0.0, span: float | None = None) -> Ceiling:
    """A deadline so many seconds after the start of a trace."""
    return Ceiling(T0 + seconds, seconds, Moment(T0, 1000.0), span or seconds, save)

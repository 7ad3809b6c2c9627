"""When the box stops because a run has ended (`devbox run --then`). Pure.

The end comes GRACE seconds after the run and every other one are over, with a warning when they
are. It waits as long as `keep` says, and for a user at work: `warn` seconds after the last
keystroke, ssh traffic or request. What GPUs, CPUs and the network do does not count: the run is
over. A list of runs that stops coming is no end of them.
"""

from __future__ import annotations

from typing import NamedTuple, Optional, Sequence, Tuple

from devbox.box.format import brief
from devbox.box.watchdog.signals.work import Jobs
from devbox.wire.messages import End, Policy, Then, Waits

GRACE = 60.0  # seconds between the end of the run and the save; less where the warning is shorter
OWN = 60.0  # seconds after the order in which the traffic is that of who gave it
_NEVER = float("inf")
_VERBS = {"pause": "pauses", "down": "ends"}


class Order(NamedTuple):
    """since: when (mono) it was given. over: when (mono) its run was first seen to be over, or
    files and a fetch were last waited for, None before. ended: how. files: some would be lost.
    fetching: a computer fetches just now."""

    do: End
    run: str
    since: float
    over: Optional[float] = None
    ended: str = ""
    files: bool = False
    fetching: bool = False

    @property
    def told(self) -> str:
        return f"run {self.run} {self.ended or 'is over'}"


def grace(policy: Policy) -> float:
    return min(GRACE, policy.warn)


def judge(
    policy: Policy,
    order: Order,
    jobs: Jobs,
    user: Optional[float],
    hold: Optional[float],
    now: float,
    patience: float,
) -> Tuple[float, Then]:
    """When (mono) it is due, and what it waits for. user: the latest moment a user or a client used
    the box; patience: seconds after which the list of runs is missing."""
    verb = _VERBS[order.do]
    if order.over is None:
        return _NEVER, Then(order.do, order.run, "run", f"{verb} when run {order.run} ends")
    due = max(order.over, jobs.used or 0.0) + grace(policy)
    used = user if user is not None and user > order.since + OWN else -_NEVER
    kept = hold if hold is not None and hold > now else -_NEVER
    others = [run for run in (*jobs.running, *jobs.waiting) if run != order.run]
    unknown = jobs.seen is None or now - jobs.seen > patience
    quiet, fetch = brief(policy.warn), f"devbox attach {order.run}"
    waiting: Tuple[Tuple[bool, Waits, str, float], ...] = (
        (unknown, "answer", "to know which runs there are", _NEVER),
        (bool(others), "others", f"for {_named(others)}", _NEVER),
        (kept > now, "keep", "while it is kept", max(due, kept + grace(policy))),
        (
            used + policy.warn > max(due, now),
            "use",
            f"until nobody has used it for {quiet}",
            used + policy.warn,
        ),
        (order.files, "files", f"because of files that are only on it: {fetch}", _NEVER),
        (order.fetching, "fetch", "for a computer that fetches", _NEVER),
    )
    for is_so, waits, why, until in waiting:
        if is_so:
            text = f"{order.told}; then it {verb}, but waits {why}"
            return until, Then(order.do, order.run, waits, text)
    return due, Then(order.do, order.run, "", f"{order.told}; then it {verb}")


def _named(runs: Sequence[str]) -> str:
    more = len(runs) - 1
    return "".join(runs[:1]) + (f" and {more} more" if more > 0 else "")

"""What a box's watchdog is told, and what it says, for a user.

The watchdog itself is devbox.box.watchdog.agent; it works with this machine off.
"""

from __future__ import annotations

import math

from devbox import spec
from devbox.model import Box
from devbox.providers.guarded import policy_of
from devbox.text import brief
from devbox.wire.messages import Allowance, PauseRecipe, Verdict, WatchdogConfig
from devbox.wire.notices import Notify

_NOBODY = Notify()
#: how many reasons `sentence` names
SAID = 4


def sentence(found: Verdict, now: float) -> str:
    """One line for the user: 'would pause in 7m because …'. now: unix seconds, ours."""
    why = "; ".join(found.reasons[:SAID])
    left = None if found.pauses_at is None else brief(max(0.0, found.pauses_at - now))
    if found.state == "active":
        which = "when its budget is spent," if found.cause == "budget" else "at max_uptime"
        end = f"; pauses {which} in {left}" if left else ""
        return f"in use: {why}{end}"
    if found.state == "saving":
        return f"saving before it pauses: {why}"
    if found.state == "pausing":
        return f"pausing: {why}"
    if left is None:
        return f"idle for {brief(found.idle_for)}, and nothing pauses it: {why}"
    return f"would pause in {left} because {why}"


def config(
    box: Box,
    recipe: PauseRecipe | None,
    now: float,
    *,
    disk_kept: bool = True,
    notify: Notify = _NOBODY,
    budget: Allowance | None = None,
) -> WatchdogConfig:
    """A box's idle policy, its deadline, how it pauses itself (the provider's `watchdog` recipe),
    whether its disk outlives that, what it tells by itself, and what it may spend. now: unix
    seconds, ours."""
    wanted = spec.decode_box(box.spec)
    started = box.started if box.started is not None else now
    return WatchdogConfig(
        box=box.name,
        policy=policy_of(wanted.idle),
        # The provider's own limit, or an earlier one that devbox.toml has set since.
        deadline=min(box.deadline or math.inf, started + wanted.max_uptime),
        started=started,
        sent=now,
        pause=recipe,
        workdir=box.workdir,
        disk_kept=disk_kept,
        volumes=tuple(v.mount for v in wanted.volumes.values() if not v.read_only),
        token=box.token,
        notify=notify,
        budget=budget,
    )

"""Talking to a box's watchdog: give it its orders, hold it off, ask for its verdict.

The watchdog itself is devbox.box.watchdog.daemon; it works with this machine off. Times cross
between two clocks here: what a box says in its own time is told in ours.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from devbox import spec
from devbox.errors import NotFound, SshError
from devbox.model import Box
from devbox.providers.guarded import policy_of
from devbox.remote import agent_bootstrap
from devbox.text import brief, clean
from devbox.wire.codec import Unreadable, convert, decode, encode
from devbox.wire.messages import Kept, PauseRecipe, Verdict, WatchdogConfig

M = TypeVar("M", bound=tuple[Any, ...])

_NO_ANSWER = 3  # exit code: no watchdog runs, or the box was never armed
_SYNC_MOST = 3600.0
_SYNC_TAIL = 10.0


#: how many reasons `sentence` names
SAID = 4


def sentence(found: Verdict, now: float) -> str:
    """One line for the user: 'would pause in 7m because …'. now: unix seconds, ours."""
    why = "; ".join(found.reasons[:SAID])
    left = None if found.pauses_at is None else brief(max(0.0, found.pauses_at - now))
    if found.state == "active":
        end = f"; pauses at max_uptime in {left}" if left else ""
        return f"in use: {why}{end}"
    if found.state == "saving":
        return f"saving before it pauses: {why}"
    if found.state == "pausing":
        return f"pausing: {why}"
    if left is None:
        return f"idle for {brief(found.idle_for)}, and nothing pauses it: {why}"
    return f"would pause in {left} because {why}"


def arm(
    connection: agent_bootstrap.Runs,
    box: Box,
    recipe: Mapping[str, Any] | None,
    *,
    disk_kept: bool = True,
    clock: Callable[[], float] = time.time,
) -> None:
    """Give the box its idle policy, its deadline, how it pauses itself (the provider's `watchdog`
    recipe) and whether its disk outlives that, and have its watchdog follow them. Arming again
    replaces the orders. The box half is put there first where it is missing. SshError when no
    watchdog follows them."""
    orders = encode(_config(box, recipe, clock(), disk_kept))
    # The agent forks off this very process and shows under its words: a user who looks for it
    # finds "agent" there.
    done = agent_bootstrap.run(connection, "arm", "agent", input=orders)
    if done.code:
        raise SshError(
            f"the watchdog of {box.name} could not be armed: {agent_bootstrap.said(done)}",
            means=f"{box.name} runs and may cost, and its watchdog does not guard it",
            fix=f"devbox doctor {box.name}, or end it with: devbox down {box.name}",
        )


def keep(
    connection: agent_bootstrap.Runs, until: float, *, clock: Callable[[], float] = time.time
) -> float:
    """Hold off the idle pause until then (unix seconds). Returns the time that is in force:
    earlier when max_uptime comes first, later when a longer hold was in force already."""
    times = ("--until", repr(float(until)), "--now", repr(clock()))
    return _ask(connection, Kept, "keep", *times).until


def verdict(
    connection: agent_bootstrap.Runs,
    *,
    unsynced: bool = False,
    clock: Callable[[], float] = time.time,
) -> Verdict:
    """The watchdog's present verdict, with a second's count of what is unsynced when asked for.
    NotFound when no watchdog runs on the box."""
    found = _ask(connection, Verdict, "verdict", *(["unsynced"] if unsynced else []))
    shift = clock() - found.now
    return found._replace(
        pauses_at=None if found.pauses_at is None else found.pauses_at + shift,
        keep_until=None if found.keep_until is None else found.keep_until + shift,
        now=found.now + shift,
    )


@contextmanager
def syncing(connection: agent_bootstrap.Runs) -> Iterator[None]:
    """While this machine fetches what a coming pause would lose: that traffic is not use, so it
    does not call the pause off. At most an hour."""
    _run(connection, "keep", "--syncing", repr(_SYNC_MOST))
    try:
        yield
    finally:
        # What is still on its way, this word too, is not use either.
        _run(connection, "keep", "--syncing", repr(_SYNC_TAIL))


def _config(
    box: Box, recipe: Mapping[str, Any] | None, now: float, disk_kept: bool
) -> WatchdogConfig:
    wanted = spec.decode_box(box.spec)
    started = box.started if box.started is not None else now
    return WatchdogConfig(
        box=box.name,
        policy=policy_of(wanted.idle),
        # The provider's own limit, or an earlier one that devbox.toml has set since.
        deadline=min(box.deadline or math.inf, started + wanted.max_uptime),
        started=started,
        sent=now,
        pause=None if recipe is None else convert(dict(recipe), PauseRecipe),
        workdir=box.workdir,
        disk_kept=disk_kept,
        volumes=tuple(v.mount for v in wanted.volumes.values() if not v.read_only),
        token=box.token,
    )


def _ask(connection: agent_bootstrap.Runs, kind: type[M], *words: str) -> M:
    """Run a verb of the watchdog; its answer."""
    try:
        found: M = decode(_run(connection, *words).encode(errors="replace"), kind)
    except Unreadable as error:
        raise SshError(
            f"the answer of the box's watchdog to {words[0]} could not be read: {error}",
            fix=f"devbox doctor {connection.box.name}",
        ) from error
    return found


def _run(connection: agent_bootstrap.Runs, *words: str) -> str:
    done = connection.run(agent_bootstrap.command(*words), check=False)
    name = connection.box.name
    if done.code == _NO_ANSWER:
        raise NotFound(
            "no watchdog runs on this box",
            means="nothing pauses it when it is idle",
            fix=f"arm it again with: devbox up {name}",
        )
    if done.code:
        raise SshError(
            f"the box's watchdog could not be asked: {clean(done.err.strip()[-300:], 300)}",
            fix=f"devbox doctor {name}",
        )
    return done.out

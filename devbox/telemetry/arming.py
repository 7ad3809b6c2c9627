"""Talking to a box's watchdog: give it its orders, hold it off, ask for its verdict.

The watchdog itself is devbox.box.watchdog.daemon; it works with this machine off. Times cross
between two clocks here: what a box says in its own time is told in ours.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Literal

import msgspec

from devbox import spec
from devbox.errors import NotFound, SshError
from devbox.model import Box
from devbox.providers.guarded import policy_fields
from devbox.remote import agent_bootstrap
from devbox.text import brief, clean
from devbox.wire.codec import LATEST

_NO_ANSWER = 3  # exit code: no watchdog runs, or the box was never armed
_SYNC_MOST = 3600.0
_SYNC_TAIL = 10.0


class Verdict(msgspec.Struct, frozen=True):
    """The idle policy's answer. state: active (in use), idle, held (idle, but kept), warned,
    saving, pausing. idle_for: seconds. pauses_at: unix seconds, as things stand, and cause: which
    of idle and ceiling it would be; None where nothing would pause it. deadline: max_uptime's end.
    warned: the person was told. unsynced: files of the workdir that changed on the box since they
    were last fetched, by its own count. silent: seconds it has said nothing for,
    when that is too long. Unix times are by this machine's clock."""

    state: Literal["active", "idle", "held", "warned", "saving", "pausing"]
    idle_for: float
    pauses_at: float | None
    reasons: tuple[str, ...]
    keep_until: float | None = None
    deadline: float | None = None
    warned: bool = False
    cause: Literal["idle", "ceiling"] | None = None
    unsynced: str = ""
    now: float = 0.0
    silent: float = 0.0

    #: how many reasons `sentence` names
    SAID: ClassVar[int] = 4

    def sentence(self, now: float) -> str:
        """One line for a person: 'would pause in 7m because …'. now: unix seconds, ours."""
        why = "; ".join(self.reasons[: self.SAID])
        left = None if self.pauses_at is None else brief(max(0.0, self.pauses_at - now))
        if self.state == "active":
            end = f"; pauses at max_uptime in {left}" if left else ""
            return f"in use: {why}{end}"
        if self.state == "saving":
            return f"saving before it pauses: {why}"
        if self.state == "pausing":
            return f"pausing: {why}"
        if left is None:
            return f"idle for {brief(self.idle_for)}, and nothing pauses it: {why}"
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
    orders = json.dumps(_orders(box, recipe, clock(), disk_kept)).encode()
    # The agent forks off this very process and shows under its words: a person who looks for it
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
    argv = agent_bootstrap.command("keep", "--until", repr(float(until)), "--now", repr(clock()))
    answer = _answer(connection, argv)
    granted = answer.get("until")
    is_number = isinstance(granted, (int, float)) and not isinstance(granted, bool)
    if not is_number or not 0 <= float(granted or 0) <= LATEST:
        raise SshError(
            "the box's answer to keep makes no sense", fix=f"devbox doctor {connection.box.name}"
        )
    return float(granted or 0)


def verdict(
    connection: agent_bootstrap.Runs,
    *,
    unsynced: bool = False,
    clock: Callable[[], float] = time.time,
) -> Verdict:
    """The watchdog's present verdict, with a second's count of what is unsynced when asked for.
    NotFound when no watchdog runs on the box."""
    answer = _answer(
        connection, agent_bootstrap.command("verdict", *(["unsynced"] if unsynced else []))
    )
    try:
        found = msgspec.convert(answer, Verdict)
        _require_sane(found)
    except (msgspec.ValidationError, ValueError) as error:
        raise SshError(
            f"the box's verdict makes no sense: {clean(str(error), 200)}",
            fix=f"devbox doctor {connection.box.name}",
        ) from error
    shift = clock() - found.now
    return msgspec.structs.replace(
        found,
        unsynced=clean(found.unsynced, 100),
        reasons=tuple(clean(reason, 200).replace("\n", " ") for reason in found.reasons[:20]),
        pauses_at=None if found.pauses_at is None else found.pauses_at + shift,
        keep_until=None if found.keep_until is None else found.keep_until + shift,
        now=found.now + shift,
    )


def _require_sane(found: Verdict) -> None:
    """ValueError when one of its times is none that a clock could say."""
    ours = (found.idle_for, found.pauses_at, found.keep_until, found.deadline, found.now)
    for value in (*ours, found.silent):
        if value is not None and not 0 <= value <= LATEST:
            raise ValueError(f"{value:g} is no time")


@contextmanager
def syncing(connection: agent_bootstrap.Runs) -> Iterator[None]:
    """While this machine fetches what a coming pause would lose: that traffic is not use, so it
    does not call the pause off. At most an hour."""
    _answer(connection, agent_bootstrap.command("keep", "--syncing", repr(_SYNC_MOST)))
    try:
        yield
    finally:
        # What is still on its way, this word too, is not use either.
        _answer(connection, agent_bootstrap.command("keep", "--syncing", repr(_SYNC_TAIL)))


def _orders(
    box: Box, recipe: Mapping[str, Any] | None, now: float, disk_kept: bool
) -> dict[str, Any]:
    """The schema is in devbox.box.watchdog.config."""
    wanted = spec.decode_box(box.spec)
    started = box.started if box.started is not None else now
    # The provider's own limit, or an earlier one that devbox.toml has set since.
    deadline = min(box.deadline or math.inf, started + wanted.max_uptime)
    return {
        "v": 1,
        "box": box.name,
        "token": box.token,
        "policy": policy_fields(wanted.idle),
        "deadline": deadline,
        "started": started,
        "sent": now,
        "pause": None if recipe is None else dict(recipe),
        "workdir": box.workdir,
        "disk_kept": disk_kept,
        "volumes": [v.mount for v in wanted.volumes.values() if not v.read_only],
    }


def _answer(connection: agent_bootstrap.Runs, argv: Sequence[str]) -> dict[str, Any]:
    done = connection.run(argv, check=False)
    if done.code == _NO_ANSWER:
        raise NotFound(
            "no watchdog runs on this box",
            means="nothing pauses it when it is idle",
            fix=f"arm it again with: devbox up {connection.box.name}",
        )
    if done.code:
        raise SshError(
            f"the box's watchdog could not be asked: {clean(done.err.strip()[-300:], 300)}",
            fix=f"devbox doctor {connection.box.name}",
        )
    try:
        answer = msgspec.json.decode(done.out)
    except (msgspec.DecodeError, RecursionError) as error:
        raise SshError(
            "the box's answer is not JSON", fix=f"devbox doctor {connection.box.name}"
        ) from error
    if not isinstance(answer, dict):
        raise SshError(
            "the box's answer is not an object", fix=f"devbox doctor {connection.box.name}"
        )
    return answer

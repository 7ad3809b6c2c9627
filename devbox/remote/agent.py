"""The typed client of the box half: a message out, a message back, over any way of running it.

line = Exec(box)     # or a `connection.Connection` that was logged in already
agent.verdict(line, clock=ws.clock).reasons
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

from devbox.errors import Conflict, DevboxError, NotFound, SshError, UsageError
from devbox.remote import agent_bootstrap
from devbox.remote.agent_bootstrap import Runs
from devbox.text import clean
from devbox.wire.codec import MAX_LINE, Unreadable, decode, encode
from devbox.wire.jobs import Refusal, Refused
from devbox.wire.messages import BoxReport, Kept, Verdict, WatchdogConfig

M = TypeVar("M", bound=NamedTuple)

_MANY = 64 << 20  # bytes of an answer: the statuses of many runs
_ERRORS: dict[Refused, type[DevboxError]] = {
    "conflict": Conflict,
    "not_found": NotFound,
    "missing": NotFound,
    "bad_request": UsageError,
}
_NO_WATCHDOG = 3  # exit code: no watchdog runs, or the box was never armed
_SYNC_MOST = 3600.0
_SYNC_TAIL = 10.0


def ask(
    line: Runs,
    kind: type[M],
    *words: str,
    request: NamedTuple | None = None,
    timeout: float = 60.0,
    limit: int = MAX_LINE,
    present: bool = False,
) -> M:
    """Run the verb `words` with `request` on its stdin; the message it answers with.

    present: the box gets the present box half first where it has an older one. NotFound when no
    watchdog runs to answer; NotFound, Conflict or UsageError where the box refuses; SshError when
    the box half fails, or its answer is not that message or over `limit` bytes.
    """
    body, name = b"" if request is None else encode(request), line.box.name
    if present:
        done = agent_bootstrap.run(line, *words, input=body, timeout=timeout)
    else:
        argv = agent_bootstrap.command(*words)
        done = line.run(argv, input=body, timeout=timeout, check=False)
    if done.code == _NO_WATCHDOG:
        raise NotFound(
            "no watchdog runs on this box",
            means="nothing pauses it when it is idle",
            fix=f"arm it again with: devbox up {name}",
        )
    try:
        found = decode(done.out.encode(errors="replace"), Refusal, kind, limit=limit)
    except Unreadable as error:
        said = clean((done.err or done.out).strip()[-300:], 300) or "nothing"
        raise SshError(
            f"devbox's program on {name} answered {words[0]} with code {done.code}, and the answer "
            f"{error}: {said}",
            fix=f"devbox doctor {name}",
        ) from error
    if isinstance(found, Refusal):
        raise _ERRORS[found.error](f"{name}: {found.message}")
    return found


def job(
    line: Runs,
    kind: type[M],
    *words: str,
    request: NamedTuple | None = None,
    timeout: float = 60.0,
) -> M:
    """Ask the job runner of the present box half, as `ask`."""
    return ask(
        line, kind, "job", *words, request=request, timeout=timeout, limit=_MANY, present=True
    )


def arm(line: Runs, config: WatchdogConfig) -> None:
    """Have the box's watchdog follow `config`; arming again replaces it. The box half is put there
    first where it is missing. SshError when no watchdog follows it."""
    # The agent forks off this very process and shows under its words: a user who looks for it
    # finds "agent" there.
    done = agent_bootstrap.run(line, "arm", "agent", input=encode(config))
    if done.code:
        name = line.box.name
        raise SshError(
            f"the watchdog of {name} could not be armed: {agent_bootstrap.said(done)}",
            means=f"{name} runs and may cost, and its watchdog does not guard it",
            fix=f"devbox doctor {name}, or end it with: devbox down {name}",
        )


def keep(line: Runs, until: float, *, clock: Callable[[], float] = time.time) -> float:
    """Hold off the idle pause until then (unix seconds). Returns the time that is in force:
    earlier when max_uptime comes first, later when a longer hold was in force already."""
    times = ("--until", repr(float(until)), "--now", repr(clock()))
    return ask(line, Kept, "keep", *times).until


def verdict(
    line: Runs, *, unsynced: bool = False, clock: Callable[[], float] = time.time
) -> Verdict:
    """The watchdog's present verdict in our time, with a second's count of what is unsynced when
    asked for. NotFound when no watchdog runs on the box."""
    found = ask(line, Verdict, "verdict", *(["unsynced"] if unsynced else []))
    shift = clock() - found.now
    return found._replace(
        pauses_at=None if found.pauses_at is None else found.pauses_at + shift,
        keep_until=None if found.keep_until is None else found.keep_until + shift,
        now=found.now + shift,
    )


@contextmanager
def syncing(line: Runs) -> Iterator[None]:
    """While this machine fetches what a coming pause would lose: that traffic is not use, so it
    does not call the pause off. At most an hour."""
    ask(line, Kept, "keep", "--syncing", repr(_SYNC_MOST))
    try:
        yield
    finally:
        # What is still on its way, this word too, is not use either.
        ask(line, Kept, "keep", "--syncing", repr(_SYNC_TAIL))


def report(line: Runs) -> BoxReport:
    """What the box's own doctor found."""
    return ask(line, BoxReport, "doctor", timeout=180.0)

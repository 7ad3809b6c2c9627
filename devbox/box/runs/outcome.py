"""How a run ended, in one state, one reason and one sentence. Pure."""

from __future__ import annotations

import signal
from typing import Literal, NamedTuple, Optional, Tuple

from devbox.box.runs.process_group import signal_name
from devbox.box.runs.progress import Tally
from devbox.box.runs.worker import FAILED_ITEMS, UNPREPARED

Ended = Literal["succeeded", "failed", "cancelled"]


class Outcome(NamedTuple):
    """exit_code: as a shell would say it: 128 + signal, 124 for a timeout."""

    state: Ended
    reason: str
    message: str
    exit_code: int
    signal: Optional[int]


def judge(
    code: int, stopped: str, timeout: Optional[float], tally: Tally, *, service: bool = False
) -> Outcome:
    """code: the worker's, minus the signal that killed it. stopped: "", or why the supervisor
    ended it: cancelled, timeout, interrupted."""
    number = -code if code < 0 else None
    exit_code = 124 if stopped == "timeout" else 128 - code if code < 0 else code
    state, reason, message = _stopped(stopped, timeout) or _ended(code, tally)
    if service and stopped == "cancelled":
        cut = number == signal.SIGKILL
        message = "stopped; requests that took too long were cut" if cut else "stopped"
    return Outcome(state, reason, message, exit_code, number)


def _stopped(why: str, timeout: Optional[float]) -> Optional[Tuple[Ended, str, str]]:
    if why == "cancelled":
        return "cancelled", why, "cancelled; what is done is kept"
    if why == "timeout":
        return "failed", why, f"ended after its timeout of {timeout:g} s; what is done is kept"
    if why == "interrupted":
        return "failed", why, "interrupted: the box was going down; what is done is kept"
    return None


def _ended(code: int, tally: Tally) -> Tuple[Ended, str, str]:
    if tally.failed and code in (0, FAILED_ITEMS):
        return "failed", "items", f"{_items(len(tally.failed), tally.total)} failed"
    if code < 0:
        hint = " (perhaps out of memory)" if -code == signal.SIGKILL else ""
        return "failed", "exit", f"killed by {signal_name(-code)}{hint}"
    if code == UNPREPARED and tally.error:
        return "failed", "unprepared", tally.error
    if code or tally.error:
        return "failed", "exit", tally.error or f"ended with exit code {code}"
    if tally.missing:
        was = "was" if tally.missing == 1 else "were"
        return "failed", "items", f"{_items(tally.missing, tally.total)} {was} never worked on"
    return "succeeded", "", ""


def _items(count: int, total: Optional[int]) -> str:
    """'1 item', '1 of 4 items'."""
    of = f" of {total}" if total else ""
    return f"{count}{of} {'item' if (total or count) == 1 else 'items'}"

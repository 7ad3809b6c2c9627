"""Wait until a run or a box is in one of some states, however often the connection is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from devbox.errors import Conflict, JobFailed, NotReached, UsageError
from devbox.jobs import queries, status
from devbox.lifecycle.observe import refresh
from devbox.model import Box, BoxState, Run, RunState
from devbox.money import exposure
from devbox.text import clean, did_you_mean, duration
from devbox.workspace import Workspace

ENDED = "ended"
# Seconds between looks: soon at first, then patient.
_LOOKS = (0.2, 0.5, 1.0, 2.0, 3.0, 5.0)
_Seen = TypeVar("_Seen", Run, Box)


def for_run(ws: Workspace, run: Run, wanted: tuple[str, ...], timeout: float | None) -> Run:
    """The run once it is in one of the states `wanted`. JobFailed when it has ended in another,
    Conflict when its box is paused, NotReached when the time is over first."""
    states, asked = _states(wanted, RunState), f" --for {','.join(wanted)}"

    def look(known: Run) -> tuple[Run, str]:
        (seen,) = queries.refresh(ws, [known])
        box = ws.store.boxes.get(seen.box_id)
        if box is None or seen != known or seen.state.is_over:
            return seen, ""
        (box,) = refresh(ws, [box])  # it said nothing new: it may have paused itself
        if box.state is BoxState.PAUSED and str(RunState.UNKNOWN) not in states:
            raise Conflict(
                f"{box.name} is paused, and what run {seen.id} came to is not known here",
                means=exposure.of(ws, box).sentence,
                fix=f"devbox resume {box.name}, then: devbox attach {seen.id}",
            )
        return seen, f"its provider does not answer: {box.unreachable}" * bool(box.unreachable)

    def over(seen: Run) -> JobFailed | None:
        if not seen.state.is_over:
            return None
        why = status.of(seen).message
        return JobFailed(
            f"run {seen.id} is {seen.state}, not {_named(wanted)}" + (f": {why}" if why else ""),
            fix=f"devbox retry {seen.id}",
        )

    typed = f"{run.id}{asked}"
    return _until(ws, run, lambda run: run.state in states, look, over, timeout, typed)


def for_box(ws: Workspace, box: Box, wanted: tuple[str, ...], timeout: float | None) -> Box:
    """The box once its provider says that it is in one of the states `wanted`. Conflict when it can
    no longer get there by itself, NotReached when the time is over first."""
    states, asked = _states(wanted, BoxState), f" --for {','.join(wanted)}"

    def look(known: Box) -> tuple[Box, str]:
        (seen,) = refresh(ws, [known])
        return seen, f"its provider does not answer: {seen.unreachable}" * bool(seen.unreachable)

    def over(seen: Box) -> Conflict | None:
        if not (seen.state.is_over or seen.state is BoxState.FAILED):
            return None
        return Conflict(
            f"{seen.name} is {seen.state}, not {_named(wanted)}"
            + (f": {seen.message}" if seen.message else ""),
            means=exposure.of(ws, seen).sentence,
            fix=f"devbox up {seen.name}",
        )

    typed = f"{box.name}{asked}"
    return _until(ws, box, lambda box: box.state in states, look, over, timeout, typed)


def _until(
    ws: Workspace,
    seen: _Seen,
    is_there: Callable[[_Seen], bool],
    look: Callable[[_Seen], tuple[_Seen, str]],
    over: Callable[[_Seen], Exception | None],
    timeout: float | None,
    typed: str,
) -> _Seen:
    """look: asks once; what it knows now, and why that may be old. typed: names it in a command."""
    began, told, tries, name = ws.clock(), "", 0, typed.split(maxsplit=1)[0]
    while True:
        seen, trouble = look(seen)
        if is_there(seen):
            return seen
        if error := over(seen):
            raise error
        left = None if timeout is None else began + timeout - ws.clock()
        if left is not None and left <= 0:
            raise NotReached(
                f"{name} is still {seen.state} after {duration(timeout)}",
                means="nothing was changed",
                fix=f"wait longer: devbox wait {typed}",
            )
        if trouble and trouble != told:
            ws.narrate(f"{name}: {clean(trouble, 300)}; waiting on")
        told = trouble
        pause = _LOOKS[min(tries, len(_LOOKS) - 1)]
        tries += 1
        ws.sleep(pause if left is None else min(pause, left))


def _states(wanted: tuple[str, ...], kind: type[RunState] | type[BoxState]) -> frozenset[str]:
    """UsageError when one is no state of that kind."""
    known = {str(state): frozenset({str(state)}) for state in kind}
    known[ENDED] = frozenset(str(state) for state in kind if state.is_over)
    for name in wanted:
        if name not in known:
            close = did_you_mean(name, list(known), "--for ")
            raise UsageError(
                f"there is no state {clean(name, 40)!r}", fix=f"{close}states: {', '.join(known)}"
            )
    return frozenset().union(*(known[name] for name in wanted))


def _named(wanted: tuple[str, ...]) -> str:
    return " or ".join(wanted)

"""Waiting until a service is ready: its messages pass through, and a long wait is told."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable

from devbox.errors import JobFailed
from devbox.jobs.follow import Ended, Health, Line, Message, Note, Progress, Waiting
from devbox.model import Run
from devbox.text import clean, duration
from devbox.wire.jobs import ServiceStatus

_TELL_EVERY = 15.0  # seconds of warming up between two words about it
_SHOWN = 160  # characters of the last line of its log


def until_ready(
    messages: Iterable[Message],
    run: Run,
    *,
    since: float,
    patience: float,
    clock: Callable[[], float],
) -> Generator[Message, None, ServiceStatus]:
    """Pass messages on until the service is ready; how it is then. What it waits for is told as a
    Note now and then, with the last line of its log.

    since: when it was started, patience: seconds from then, or from its turn where it was queued.
    JobFailed when it ends before, or is
    not ready in time: it then runs on, and no longer holds its box up.
    """
    said, last, told = "", "", clock()
    queued = False
    for message in messages:
        now = clock()
        match message:
            case Waiting():
                queued = True
            case Progress() if queued:
                queued, since, told = False, now, now
            case Health(service):
                if service.ready:
                    return service
                said = service.said
            case Line(text):
                last = clean(text.strip(), _SHOWN) or last
            case Ended(_, seen):
                raise JobFailed(
                    f"service {run.job} ended before it was ready: {seen.message or seen.state}",
                    means=f"it does not run; its last words: {last}" if last else "it does not run",
                    fix=f"devbox logs {run.id}",
                )
        if queued:
            yield message
            continue
        if now - since > patience:
            raise JobFailed(
                f"service {run.job} was not ready within {duration(patience)}"
                + (f": {said}" if said else ""),
                means=f"it runs on {run.box_name}, which it no longer keeps from pausing",
                fix=f"devbox logs {run.id}, then: devbox services stop {run.job}",
            )
        yield message
        if now - told >= _TELL_EVERY:
            told = now
            yield Note(_waiting(run, now - since, said, last))
    raise JobFailed(f"what became of service {run.job} is not known", fix=f"devbox attach {run.id}")


def _waiting(run: Run, seconds: float, said: str, last: str) -> str:
    text = f"{run.job}: warming up for {duration(seconds)}"
    text += f" ({said})" if said else ""
    return text + (f"; its log ends: {last}" if last else "; it has printed nothing yet")

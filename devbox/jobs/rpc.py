"""One question to the job runner on a box, and its answer."""

from __future__ import annotations

from typing import Any, TypeVar

from devbox.errors import Conflict, DevboxError, NotFound, SshError, UsageError
from devbox.model import Box, BoxState
from devbox.remote import agent_bootstrap, preconditions
from devbox.remote.connection import Connection
from devbox.text import clean
from devbox.wire.codec import Unreadable, decode, encode
from devbox.wire.messages import JobRequest, Refusal, Refused

M = TypeVar("M", bound=tuple[Any, ...])
_MAX_ANSWER = 64 << 20  # bytes: the statuses of many runs
_ERRORS: dict[Refused, type[DevboxError]] = {
    "conflict": Conflict,
    "not_found": NotFound,
    "missing": NotFound,
    "bad_request": UsageError,
}


def call(
    connection: Connection,
    kind: type[M],
    *words: str,
    request: JobRequest | None = None,
    timeout: float = 60.0,
) -> M:
    """`devbox-box job WORDS…` with `request` on its stdin; the message it answers with. The box
    gets the present box half where it has an older one.

    NotFound, Conflict and UsageError are the box's own refusals; SshError is everything else.
    """
    body = b"" if request is None else encode(request)
    done = agent_bootstrap.run(connection, "job", *words, input=body, timeout=timeout)
    try:
        answer: M | Refusal = decode(done.out.encode(), Refusal, kind, limit=_MAX_ANSWER)
    except Unreadable as error:
        said = clean((done.err or done.out).strip()[-300:], 300) or "nothing"
        raise SshError(
            f"the job runner on {connection.box.name} answered with code {done.code}, "
            f"and the answer {error}: {said}",
            fix=f"devbox doctor {connection.box.name}",
        ) from error
    if isinstance(answer, Refusal):
        raise _ERRORS[answer.error](f"{connection.box.name}: {answer.message}")
    return answer


def require_running(box: Box) -> None:
    """Conflict when runs cannot be started or reached on a box in that state."""
    if box.state == BoxState.RUNNING:
        preconditions.check_running(box)
        return
    verb = "resume" if box.state == BoxState.PAUSED else "up"
    raise Conflict(f"box {box.name} is {box.state}", fix=f"devbox {verb} {box.name}")

"""What a box says about a run, checked and made harmless, and kept in the runs table."""

from __future__ import annotations

from typing import Any

import msgspec

from devbox.errors import SshError
from devbox.model import Run, RunState
from devbox.text import clean
from devbox.wire.codec import LATEST

_MAX_TEXT, _MAX_MEMBERS, _MAX_DEPTH = 1000, 500, 6
_LARGEST = 1 << 62
_SKEW = 2.0  # seconds; a box clock that is off by less is taken as right


class Counts(msgspec.Struct, frozen=True):
    total: int | None = None
    done: int = 0
    failed: int = 0
    skipped: int = 0


class Failure(msgspec.Struct, frozen=True):
    item: str
    error: str = ""


class Peak(msgspec.Struct, frozen=True):
    """Bytes; None is not known."""

    rss: int | None = None
    vram: int | None = None
    vram_source: str | None = None


class Attempt(msgspec.Struct, frozen=True):
    started: float
    ended: float | None = None


class Status(msgspec.Struct, frozen=True):
    """status.json of devbox.box.runs.folder; times are this computer's."""

    state: str = ""
    reason: str = ""
    message: str = ""
    attempt: int = 0
    attempts: list[Attempt] = []
    started: float | None = None
    ended: float | None = None
    exit_code: int | None = None
    counts: Counts = Counts()
    progress: tuple[float, float | None] = (0, None)
    unit: str = "items"
    eta: float | None = None
    stage: str = ""
    note: str = ""
    timings: dict[str, float] = {}
    failures: list[Failure] = []
    failures_dropped: int = 0
    peak: Peak = Peak()
    log_bytes: int = 0
    log_dropped: int = 0
    submitter: dict[str, Any] | None = None

    def seconds(self, now: float) -> float | None:
        """How long the attempts took together, up to now; None before the first."""
        spans = [(now if a.ended is None else a.ended) - a.started for a in self.attempts]
        return sum(spans) if spans else None


def of(run: Run) -> Status:
    """The last known status of a run; an empty one where the record of it is damaged."""
    try:
        return msgspec.json.decode(run.status, type=Status)
    except (msgspec.MsgspecError, RecursionError):
        return Status()


def read(raw: Any, *, box_now: Any, now: float, box: str = "") -> Status:
    """The status a box sent. box_now: its clock when it answered; its times are shifted by how
    far that is from ours. box: its name, for the text of an error. SshError when it is not a
    status."""
    try:
        status = msgspec.convert(harmless(raw), Status)
    except msgspec.ValidationError as error:
        raise SshError(
            f"the box sent a status of another form: {clean(str(error), 200)}",
            fix=f"update devbox on both sides: devbox up {box}".strip(),
        ) from error
    shift = now - box_now if isinstance(box_now, (int, float)) and 0 <= box_now <= LATEST else 0.0
    if abs(shift) <= _SKEW:
        return status
    return msgspec.structs.replace(
        status,
        started=_moved(status.started, shift),
        ended=_moved(status.ended, shift),
        attempts=[Attempt(a.started + shift, _moved(a.ended, shift)) for a in status.attempts],
    )


def apply(run: Run, status: Status) -> Run:
    """The run's row with that status."""
    known = {state.value for state in RunState}
    return msgspec.structs.replace(
        run,
        state=RunState(status.state) if status.state in known else RunState.UNKNOWN,
        started=status.attempts[0].started if status.attempts else status.started,
        ended=status.ended,
        exit_code=status.exit_code,
        status=msgspec.json.encode(status),
    )


def fail(run: Run, message: str, now: float) -> Run:
    """The run's row when this side knows that it is over, and the box cannot say."""
    seen = of(run)
    attempts = [Attempt(a.started, now if a.ended is None else a.ended) for a in seen.attempts]
    failed = msgspec.structs.replace(
        seen,
        state=RunState.FAILED.value,
        reason="interrupted",
        message=clean(message, _MAX_TEXT),
        ended=now,
        attempts=attempts,
    )
    return apply(run, failed)


def harmless(value: Any, depth: int = 0) -> Any:
    """A JSON value from a box with its texts cleaned and its size bounded."""
    if isinstance(value, str):
        return clean(value, _MAX_TEXT)
    if depth >= _MAX_DEPTH:
        return None
    if isinstance(value, list):
        return [harmless(member, depth + 1) for member in value[:_MAX_MEMBERS]]
    if isinstance(value, dict):
        members = list(value.items())[:_MAX_MEMBERS]
        return {clean(str(key), 100): harmless(member, depth + 1) for key, member in members}
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value if abs(value) <= _LARGEST else None
    return value


def _moved(moment: float | None, shift: float) -> float | None:
    return None if moment is None else moment + shift

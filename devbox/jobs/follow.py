"""A run as it goes: progress, log lines and its end, over as many ssh connections as it takes."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from typing import NamedTuple

from devbox.errors import Conflict, JobFailed, NoAnswer, NotFound, SshError
from devbox.jobs import queue, status
from devbox.model import Box, BoxState, Run, RunState
from devbox.remote import agent_bootstrap, stream
from devbox.remote.preconditions import check_running
from devbox.text import clean
from devbox.wire.codec import Unreadable, decode
from devbox.wire.jobs import JobAnswer, JobEvent, JobStatus, LogPiece, Refusal, ServiceStatus
from devbox.wire.messages import Heartbeat
from devbox.workspace import Workspace

PATIENCE = 180.0  # seconds without an answer after which following ends
SILENCE = 60.0  # seconds: the box half says something at least every 15


class Line(NamedTuple):
    """A line of the log, cleaned. end: "\\n", "\\r" for one that the next replaces, or "".
    dropped: bytes that are missing just before it."""

    text: str
    end: str
    dropped: int


class Progress(NamedTuple):
    done: float
    total: float | None
    unit: str
    message: str
    eta: float | None


class Waiting(NamedTuple):
    """The run waits for its turn: what for, and its place."""

    text: str


class Note(NamedTuple):
    """Something to tell: a stage began, an item failed, the connection was cut."""

    text: str


class Health(NamedTuple):
    """How a service is."""

    service: ServiceStatus


class Alive(NamedTuple):
    """The box had nothing to tell for a while."""


class Ended(NamedTuple):
    """The run is over; its row is in the store."""

    run: Run
    status: JobStatus


_Line = JobEvent | JobAnswer | Heartbeat | Refusal | LogPiece
Message = Line | Progress | Waiting | Note | Health | Alive | Ended


def follow(
    ws: Workspace, run: Run, *, after: str = "", wait: bool = True, patience: float = PATIENCE
) -> Generator[Message, None, None]:
    """Messages of a run until it has ended (the last one is `Ended`), each once, also when the
    connection is cut and made again.

    after: "" all of it, "tail" the last part of the log. wait False: what there is now; `Ended`
    comes only when it is over. patience: seconds without an answer after which SshError is
    raised; the run continues by itself. JobFailed when its box is gone.
    """
    reader = _Reader(ws, run, after, wait=wait)
    silent_since: float | None = None

    def cut(end: stream.Cut) -> Generator[Message, None, None]:
        nonlocal silent_since
        now = ws.clock()
        silent_since = now if end.heard or silent_since is None else silent_since
        if now - silent_since > patience:
            why = clean(end.err.strip()[-200:], 200) or "no answer"
            raise NoAnswer(
                f"the box {end.box.name} does not answer: {why}",
                means=f"run {run.id} continues by itself as long as the box does",
                fix=f"devbox attach {run.id}",
                box=end.box.id,
            )
        if end.failures == 1:
            yield Note(f"the connection to {end.box.name} was cut; connecting again")

    yield from stream.resumed(
        lambda: _box(ws, run),
        reader,
        silence=SILENCE,
        over=lambda code: reader.ended or (code == 0 and not wait),
        cut=cut,
        sleep=ws.sleep,
    )


def followed(ws: Workspace, run: Run) -> Ended:
    """Wait for the end of a run, in silence."""
    with closing(follow(ws, run, after="tail")) as messages:
        for message in messages:
            if isinstance(message, Ended):
                return message
    raise SshError(f"run {run.id} was not followed to its end")


class _Reader:
    """Turns what the box prints into messages, and keeps the place to continue from."""

    def __init__(self, ws: Workspace, run: Run, after: str, *, wait: bool = True) -> None:
        self._ws, self._run, self._wait = ws, run, wait
        self.at = after or "0.0"
        #: something that could be read came over this connection
        self.heard = False
        self.ended = self._told = self._waits = False

    def words(self) -> list[str]:
        self.heard = False
        once = [] if self._wait else ["--once"]
        return agent_bootstrap.command("job", "follow", self._run.id, "--after", self.at, *once)

    def feed(self, line: bytes) -> list[Message]:
        try:
            message: _Line = decode(line, JobEvent, JobAnswer, Heartbeat, Refusal, LogPiece)
        except Unreadable as error:
            return self._unread(line, error)
        self.heard = True
        if isinstance(message, Refusal):
            raise self._refused(message)
        if isinstance(message, Heartbeat):
            return [Alive()]
        self.at = message.at or self.at
        if isinstance(message, LogPiece):
            *whole, last = message.text.split("\n")
            lines = [*(Line(text, "\n", 0) for text in whole), Line(last, message.end, 0)]
            return [lines[0]._replace(dropped=message.dropped), *lines[1:]]
        if isinstance(message, JobEvent):
            is_news = message.event.kind in ("item", "restarted")
            return [Note(message.event.message)] if is_news else []
        return self._status(message)

    def _unread(self, line: bytes, error: Unreadable) -> list[Message]:
        """It is dropped; what is not a line of a login is told once."""
        if self._told or not line.startswith(b"{"):
            return []
        self._told = True
        return [Note(f"a line of {self._run.box_name} could not be read: {error}")]

    def _refused(self, said: Refusal) -> Exception:
        if self._run.state == RunState.QUEUED:
            return Conflict(
                f"run {self._run.id} is still being sent to {self._run.box_name}",
                fix=f"in a moment: devbox attach {self._run.id}",
            )
        return NotFound(f"{self._run.box_name}: {said.message}", fix=f"devbox retry {self._run.id}")

    def _status(self, message: JobAnswer) -> list[Message]:
        now = self._ws.clock()
        seen = status.shifted(message.status, box_now=message.now, now=now)
        waited, self._waits = self._waits, seen.queue is not None
        self._run = status.apply(self._run, seen)
        found: list[Message] = [Progress(*seen.progress, seen.unit, seen.note, seen.eta)]
        if seen.queue:
            found = [Waiting(clean(queue.told(seen), 400))]
        elif waited and seen.state == "running":
            found.append(Note("begins" + (f" on {', '.join(seen.gpus)}" if seen.gpus else "")))
        found += [Health(seen.service)] if seen.service else []
        if seen.is_over:
            self.ended = True
            known = self._ws.store.runs.get(self._run.id)
            self._ws.store.runs.put(self._run)
            if known is None or not known.state.is_over:
                text = f"run {self._run.id} {seen.state}"
                text += f": {seen.message}" if seen.message else ""
                kind = "run-finished" if seen.state == "succeeded" else "run-failed"
                kind = "run" if seen.state == "cancelled" else kind
                self._ws.store.events.add(self._run.box_id, kind, text, now)
            found.append(Ended(self._run, seen))
        return found


def _box(ws: Workspace, run: Run) -> Box:
    box = ws.store.boxes.get(run.box_id)
    if box is None or box.state.is_over:
        raise JobFailed(
            f"the box {run.box_name} of run {run.id} is gone",
            means="what it had made and was not fetched is gone with it",
        )
    if box.state is BoxState.PAUSED:
        check_running(box)
    return box

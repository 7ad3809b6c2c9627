"""A run as it goes: progress, log lines and its end, over as many ssh connections as it takes."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import closing
from typing import Any, NamedTuple

from devbox.errors import Conflict, JobFailed, NoAnswer, NotFound, SshError
from devbox.jobs import status
from devbox.jobs.status import Status
from devbox.model import Run, RunState
from devbox.remote import agent_bootstrap, refusal
from devbox.remote.exec import Program
from devbox.text import clean
from devbox.wire.codec import load_or_none
from devbox.workspace import Workspace

PATIENCE = 180.0  # seconds without an answer after which following ends
SILENCE = 60.0  # seconds: the box half says something at least every 15
_CURSOR = re.compile(r"\d{1,15}\.\d{1,18}")
_MAX_TEXT = 40_000


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


class Note(NamedTuple):
    """Something to tell: a stage began, an item failed, the connection was cut."""

    text: str


class Ended(NamedTuple):
    """The run is over; its row is in the store."""

    run: Run
    status: Status


Message = Line | Progress | Note | Ended


def follow(
    ws: Workspace, run: Run, *, after: str = "", wait: bool = True, patience: float = PATIENCE
) -> Generator[Message, None, None]:
    """Messages of a run until it has ended (the last one is `Ended`), each once, also when the
    connection is cut and made again.

    after: "" all of it, "tail" the last part of the log. wait False: what there is now; `Ended`
    comes only when it is over. patience: seconds without an answer after which SshError is
    raised; the run continues by itself. JobFailed when its box is gone.
    """
    reader = _Reader(ws, run, after)
    failed = 0
    silent_since: float | None = None
    while True:
        box = _box(ws, run)
        words = ["follow", run.id, "--after", reader.at, *([] if wait else ["--once"])]
        heard = False
        with Program(box, agent_bootstrap.command("job", *words)) as program:
            for line in program.lines(SILENCE):
                heard = True
                yield from reader.feed(line)
            code = program.close()
        if reader.ended or (code == 0 and not wait):
            return
        if heard:
            failed, silent_since = 0, None
        now = ws.clock()
        silent_since = now if silent_since is None else silent_since
        why = clean(program.err.strip()[-200:], 200) or "no answer"
        # Anything else is ssh's failure or its end: a cut.
        if not heard and code is not None and 0 < code != refusal.FAILED:
            raise SshError(
                f"following run {run.id} on {box.name} ended with code {code}: {why}",
                fix=f"devbox doctor {box.name}",
            )
        if now - silent_since > patience:
            raise NoAnswer(
                f"the box {box.name} does not answer: {why}",
                means=f"run {run.id} continues by itself as long as the box does",
                fix=f"devbox attach {run.id}",
                box=box.id,
            )
        if failed == 0:
            yield Note(f"the connection to {box.name} was cut; connecting again")
        failed += 1
        ws.sleep(refusal.wait(failed))


def followed(ws: Workspace, run: Run) -> Ended:
    """Wait for the end of a run, in silence."""
    with closing(follow(ws, run, after="tail")) as messages:
        for message in messages:
            if isinstance(message, Ended):
                return message
    raise SshError(f"run {run.id} was not followed to its end")


class _Reader:
    """Turns what the box prints into messages, and keeps the place to continue from."""

    def __init__(self, ws: Workspace, run: Run, after: str) -> None:
        self._ws, self._run = ws, run
        self.at = after or "0.0"
        self.ended = False

    def feed(self, line: bytes) -> list[Message]:
        message = load_or_none(line)
        if message is None:
            return []  # not ours: a login banner, or a line of impossible length
        error = message.get("error")
        if isinstance(error, dict):
            if self._run.state == RunState.QUEUED:
                raise Conflict(
                    f"run {self._run.id} is still being sent to {self._run.box_name}",
                    fix=f"in a moment: devbox attach {self._run.id}",
                )
            raise NotFound(
                f"{self._run.box_name}: {clean(str(error.get('message')), 300)}",
                fix=f"devbox retry {self._run.id}",
            )
        at = message.get("at")
        if isinstance(at, str) and _CURSOR.fullmatch(at):
            self.at = at
        kind = message.get("kind")
        if kind == "log":
            return _line(message)
        if kind == "event" and isinstance(message.get("event"), dict):
            return _event(message["event"])
        if kind in ("status", "end"):
            return self._status(message, over=kind == "end")
        return []

    def _status(self, message: dict[str, Any], *, over: bool) -> list[Message]:
        now = self._ws.clock()
        name, at = self._run.box_name, message.get("now")
        seen = status.read(message.get("status"), box_now=at, now=now, box=name)
        self._run = status.apply(self._run, seen)
        found: list[Message] = [Progress(*seen.progress, seen.unit, seen.note, seen.eta)]
        if over:
            self.ended = True
            known = self._ws.store.runs.get(self._run.id)
            self._ws.store.runs.put(self._run)
            if known is None or not known.state.is_over:
                text = f"run {self._run.id} {seen.state}"
                text += f": {seen.message}" if seen.message else ""
                self._ws.store.events.add(self._run.box_id, "run", text, now)
            found.append(Ended(self._run, seen))
        return found


def _line(message: dict[str, Any]) -> list[Message]:
    text, end, dropped = message.get("text"), message.get("end"), message.get("dropped")
    if not isinstance(text, str):
        return []
    end = end if end in ("\n", "\r") else ""
    count = dropped if isinstance(dropped, int) and dropped > 0 else 0
    # each by itself: a sequence that a line leaves open ends with that line
    *whole, last = [clean(each, _MAX_TEXT).replace("\n", " ") for each in text.split("\n")]
    lines = [*(Line(each, "\n", 0) for each in whole), Line(last, end, 0)]
    lines[0] = lines[0]._replace(dropped=count)
    return [*lines]


def _event(event: dict[str, Any]) -> list[Message]:
    event = status.harmless(event)
    kind = event.get("kind")
    if kind == "item" and event.get("state") == "failed":
        return [Note(f"failed: {event.get('item')}: {event.get('error')}")]
    if kind == "restarted":
        return [Note(str(event.get("message")))]
    return []


def _box(ws: Workspace, run: Run) -> Any:
    box = ws.store.boxes.get(run.box_id)
    if box is None or box.state.is_over:
        raise JobFailed(
            f"the box {run.box_name} of run {run.id} is gone",
            means="what it had made and was not fetched is gone with it",
        )
    return box

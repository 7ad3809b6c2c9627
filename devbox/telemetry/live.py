"""The latest of each box, for a dashboard: a cell that a task keeps fresh.

cell = Cell(box.name)
task = asyncio.create_task(follow(box, cell, history=3600))
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Literal

from devbox.errors import SshError
from devbox.model import Box
from devbox.process import require
from devbox.remote import command
from devbox.remote.exec import GUEST, QUIET, Lines
from devbox.remote.stream import Attempts
from devbox.telemetry.client import lost
from devbox.telemetry.reader import SILENCE, Message, Reader
from devbox.wire.messages import BoxEvent, Heartbeat, Sample, TopProcess

STALE = 5.0  # seconds after which the age of a sample is shown
_HOPELESS_PAUSE = 30.0
_KEPT_ERR = 4096
_ENDING = 2.0  # seconds for ssh to end by itself


class LiveTelemetry:
    """What is known of one box now. A cut never blanks it: the last sample stays, with its age.

    sample: the latest. processes: the latest list of them, since not every sample has one.
    samples, events: the latest `keep` and 100, oldest first.
    status: connecting (never heard yet), live, cut (being connected again), refused (`error` says
    why; tried again now and then). agent: whether the sampler on the box runs, as far as known.
    changes: counts up with every change, so a widget can tell that nothing is new.
    """

    def __init__(self, name: str, *, keep: int = 3600) -> None:
        self.name = name
        self.sample: Sample | None = None
        self.processes: tuple[TopProcess, ...] = ()
        self.samples: deque[Sample] = deque(maxlen=keep)
        self.events: deque[BoxEvent] = deque(maxlen=100)
        self.status: Literal["connecting", "live", "cut", "refused"] = "connecting"
        self.error = ""
        self.agent: bool | None = None
        self.changes = 0
        self._heard_at = 0.0
        self._box_time = 0.0

    def put(self, message: Message, now: float) -> None:
        """Take in what came at `now`, in this machine's time."""
        self.status, self.error = "live", ""
        self._heard_at = now
        self.changes += 1
        if isinstance(message, Sample):
            self.sample, self._box_time = message, message.t
            if message.processes is not None:
                self.processes = message.processes
            self.samples.append(message)
        elif isinstance(message, BoxEvent):
            self.events.append(message)
        elif isinstance(message, Heartbeat):
            self.agent, self._box_time = message.agent, message.hb
        else:
            self.error = message.why

    def fail(self, status: Literal["cut", "refused"], error: str) -> None:
        """The connection is gone."""
        if self.status != "connecting" or status == "refused":
            self.status = status
        self.error = error
        self.changes += 1

    def age(self, now: float) -> float | None:
        """Seconds since the latest sample was taken, as far as this machine can tell whatever
        the box's clock says; None before the first."""
        if self.sample is None:
            return None
        return max(0.0, now - self._heard_at) + max(0.0, self._box_time - self.sample.t)


async def follow(
    box: Box,
    cell: LiveTelemetry,
    *,
    history: float = 0.0,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Keep `cell` fresh until cancelled; reconnects and resumes. history: seconds to start back.

    Raises only ToolMissing (no ssh here). Cancelling ends the ssh process before it returns.
    """
    reader, attempts = Reader(history=history), Attempts()
    ssh = require("ssh")
    while True:
        began = time.monotonic()
        line = command.argv(box, reader.words(), options=(*QUIET, *GUEST))
        code, last = await _connection([ssh, *line[1:]], reader, cell, clock)
        err = last.decode(errors="replace")
        try:
            lasted = time.monotonic() - began
            wait = attempts.ended(box, code, err, heard=reader.heard, lasted=lasted)
            cell.fail("cut", lost(box, err).what)
        except SshError as error:
            wait = _HOPELESS_PAUSE
            cell.fail("refused", error.what)
        await sleep(wait)


async def _connection(
    argv: list[str], reader: Reader, cell: LiveTelemetry, clock: Callable[[], float]
) -> tuple[int | None, bytes]:
    """One ssh process from start to end: its exit code (None: it was silent) and its stderr."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*argv, stdin=pipe, stdout=pipe, stderr=pipe)
    assert process.stdout
    assert process.stderr
    errors = asyncio.create_task(_last(process.stderr))
    lines, silent = Lines(), False
    try:
        while True:
            try:
                # not wait_for, which up to Python 3.11 may lose a cancellation (bpo-37658)
                async with asyncio.timeout(SILENCE):
                    data = await process.stdout.read(1 << 16)
            except TimeoutError:
                silent = True
                break
            if not data:
                break
            for line in lines.feed(data):
                for message in reader.feed(line):
                    cell.put(message, clock())
        # its own exit code is wanted, so it gets a moment to end by itself
        with suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await process.wait()
    finally:
        ended = process.returncode is not None
        if not ended:
            process.terminate()
        with suppress(TimeoutError):
            async with asyncio.timeout(_ENDING):
                # not process.wait(), which also waits for the end of a pipe that nobody reads
                while process.returncode is None:
                    await asyncio.sleep(0.01)
        await asyncio.wait([errors], timeout=0.2)
        errors.cancel()
        # kills what is left; a child of ssh may hold a pipe open for longer than the loop lives
        process._transport.close()  # type: ignore[attr-defined]
    err = errors.result() if errors.done() and not errors.cancelled() else b""
    return (process.returncode if ended and not silent else None), err


async def _last(stream: asyncio.StreamReader) -> bytes:
    """The end of what a stream holds."""
    kept = b""
    while data := await stream.read(1 << 12):
        kept = (kept + data)[-_KEPT_ERR:]
    return kept


__all__ = ["LiveTelemetry", "follow"]

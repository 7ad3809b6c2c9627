"""A log that grows while clients follow it, and how it travels as server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from tests.emulators.common import Clock, Fault, FaultKind

KEEP_ALIVE_SECONDS = 15.0


def stamp(moment: float) -> str:
    """Unix seconds in the Hub's notation, ``2026-01-31T12:00:00.000Z``."""
    text = datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


class Log:
    """Lines with their moments. Closed once nothing more can come."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = asyncio.Event()
        self.events: list[dict[str, Any]] = []
        self.closed = False

    def write(self, line: str, at: float | None = None) -> None:
        """Add one line (without its newline). ``at``: another moment than now."""
        moment = self._clock.now() if at is None else at
        self.events.append({"data": f"{line}\n", "timestamp": stamp(moment)})
        self._wake()

    def close(self) -> None:
        """Nothing more comes: followers get what is left and their stream ends."""
        self.closed = True
        self._wake()

    @property
    def text(self) -> str:
        """All lines so far."""
        return "".join(event["data"] for event in self.events)

    async def follow(self, tail: int | None = None) -> AsyncIterator[dict[str, Any] | None]:
        """Events from the start (or the last ``tail``), then as they come; ``None`` is a pause."""
        index = 0 if tail is None else max(0, len(self.events) - tail)
        while True:
            while index < len(self.events):
                yield self.events[index]
                index += 1
            if self.closed:
                return
            changed = self._changed
            try:
                await asyncio.wait_for(changed.wait(), KEEP_ALIVE_SECONDS)
            except TimeoutError:
                yield None

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


async def open_events(request: web.Request, clock: Clock) -> web.StreamResponse:
    """Start an event stream. Clients compare its events to its ``Date``."""
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
    )
    await response.prepare(request)
    return response


async def stream_log(
    request: web.Request, log: Log, clock: Clock, fault: Fault | None, tail: int | None = None
) -> web.StreamResponse:
    """Answer with a log. A lost reply shows what there is so far and then breaks off."""
    response = await open_events(request, clock)
    if fault is not None and fault.kind is FaultKind.REPLY_LOST:
        for event in list(log.events):
            await response.write(as_event(event))
        return response
    async for news in log.follow(tail):
        await response.write(b"data:\n\n" if news is None else as_event(news))
    await response.write_eof()
    return response


def as_event(data: dict[str, Any], name: str | None = None) -> bytes:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data)}\n\n".encode()

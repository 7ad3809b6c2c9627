"""One telemetry stream for each running box, into its cell and its history."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence

from devbox.errors import DevboxError
from devbox.model import Box
from devbox.telemetry.live import LiveTelemetry, follow
from devbox.tui import background
from devbox.tui.feed import said
from devbox.tui.history import History
from devbox.wire.messages import Sample

_KEPT = 300  # samples between two ticks, at most
_BACK = 60.0  # seconds every stream starts back; the selected box gets the whole hour
_HOUR = 3600.0
_AGAIN = 10.0  # seconds until a stream that failed on this side is tried again
_BLOCK = 50  # samples of the past taken in at a time, so that keys stay quick


class Streams:
    """cells and histories by box id. A box that stopped keeps both until it is gone."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.cells: dict[str, LiveTelemetry] = {}
        self.histories: dict[str, History] = {}
        self._clock = clock
        self._boxes: dict[str, Box] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._told: dict[str, tuple[str, int]] = {}
        self._past: dict[str, asyncio.Task[None]] = {}

    def follow(self, boxes: Sequence[Box]) -> None:
        """Follow exactly these; a box whose address changed is connected again."""
        wanted = {box.id: box for box in boxes}
        for box_id in list(self._tasks):
            known, now = self._boxes[box_id], wanted.get(box_id)
            if now is None or now.endpoint != known.endpoint:
                self._end(self._tasks.pop(box_id))
        for box_id, box in wanted.items():
            if box_id not in self._tasks:
                self._start(box)

    def again(self, box_ids: Collection[str]) -> None:
        """Connect those of them that are cut or refused now, instead of after a wait."""
        for box_id in box_ids:
            if box_id in self._tasks and self.cells[box_id].status in ("cut", "refused"):
                self._end(self._tasks.pop(box_id))
                self._start(self._boxes[box_id])

    def tick(self) -> list[str]:
        """Take in the samples that came. The boxes whose stream was cut, or whose watchdog said
        something, since the last tick."""
        remarkable = []
        for box_id, cell in self.cells.items():
            history = self.histories[box_id]
            while cell.samples:
                history.put(cell.samples.popleft())
            seen = (cell.status, cell.events[-1].seq if cell.events else 0)
            before = self._told.get(box_id, ("connecting", 0))
            if seen != before:
                self._told[box_id] = seen
                if seen[1] != before[1] or seen[0] in ("cut", "refused"):
                    remarkable.append(box_id)
        return remarkable

    def want_history(self, box_id: str) -> None:
        """Fetch the last hour of a box, once."""
        box = self._boxes.get(box_id)
        if box is not None and box_id in self._tasks and box_id not in self._past:
            self._past[box_id] = asyncio.create_task(self._fetch_past(box))

    async def stop(self) -> None:
        for task in (*self._tasks.values(), *self._past.values()):
            self._end(task)
        if self._ending:
            await asyncio.wait(self._ending, timeout=0.3)

    def _start(self, box: Box) -> None:
        self._boxes[box.id] = box
        cell = self.cells.setdefault(box.id, LiveTelemetry(box.name, keep=_KEPT))
        self.histories.setdefault(box.id, History())
        self._tasks[box.id] = asyncio.create_task(self._follow(box, cell))

    async def _follow(self, box: Box, cell: LiveTelemetry) -> None:
        """Follow a box whatever goes wrong here: it is told, and tried again."""
        while True:
            try:
                await follow(box, cell, history=_BACK, clock=self._clock)
            except Exception as error:
                cell.fail("refused", said(error))
                await asyncio.sleep(_AGAIN)

    def _end(self, task: asyncio.Task[None]) -> None:
        task.cancel()
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _fetch_past(self, box: Box) -> None:
        def read() -> list[Sample]:
            from devbox.telemetry.client import open_stream

            found = open_stream(box, history=_HOUR, follow=False, attempts=1)
            return list(found)

        try:
            past = await background.call(read, "history")
        except Exception as error:
            # the next time it is selected asks again
            del self._past[box.id]
            if not isinstance(error, DevboxError):  # of those, the stream itself says what is wrong
                self.cells[box.id].fail("cut", said(error))
            return
        history = self.histories[box.id]
        for start in range(0, len(past), _BLOCK):
            for sample in past[start : start + _BLOCK]:
                history.put(sample)
            await asyncio.sleep(0)

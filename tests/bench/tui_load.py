"""The dashboard under load, as a program for a terminal: 100 boxes of 8 GPUs at 1 Hz, and a log
of 5,000 lines a second. Samples arrive as the bytes a stream would carry and are parsed, so what
is left out is ssh itself.

    python -m tests.bench.tui_load
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from devbox.model import Box, Run
from devbox.telemetry.live import LiveTelemetry
from devbox.telemetry.reader import parse
from devbox.tui.app import Dashboard
from devbox.tui.history import History
from devbox.tui.queries import LogKind
from devbox.tui.settings import Settings
from devbox.tui.streams import Streams
from devbox.wire.codec import plain
from tests.tui import fakes

BOXES, GPUS, LINES = 100, 8, 5000
_KINDS = 60  # different samples


class LoadFeed(fakes.FakeFeed):
    """Every box gets a sample a second, spread over the second as real ones are."""

    def __init__(self, boxes: int = BOXES, gpus: int = GPUS) -> None:
        super().__init__([fakes.view(f"box-{n:03}") for n in range(boxes)])
        self.clock = time.time
        self._streams = Streams(time.time)
        self.cells, self.histories = self._streams.cells, self._streams.histories
        for view in self.views:
            self.cells[view.box.id] = LiveTelemetry(view.box.name, keep=300)
            self.histories[view.box.id] = History()
        self._bodies = [_body(n, gpus) for n in range(_KINDS)]
        self._seq = 0
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        assert self._task
        self._task.cancel()

    def tick(self) -> None:
        self._streams.tick()

    def look(self, selected: str | None, visible: Collection[str], pane: str) -> None:
        """Nothing to ask."""

    def second(self, part: slice, now: float) -> None:
        """One sample for those boxes, at that time."""
        for number, cell in enumerate(list(self.cells.values())[part]):
            head = b'{"v":1,"boot":"b","seq":%d,"t":%.3f,' % (self._seq, now)
            message = parse(head + self._bodies[(self._seq + number) % _KINDS])
            assert message is not None
            cell.put(message, now)

    async def _run(self) -> None:
        tenth = max(1, BOXES // 10)
        due = time.monotonic()
        while True:
            self._seq += 1
            for start in range(0, BOXES, tenth):
                self.second(slice(start, start + tenth), time.time())
                due += 0.1
                await asyncio.sleep(max(0.0, due - time.monotonic()))


class LoadAsks(fakes.FakeAsks):
    def logs(self, kind: LogKind, box: Box, run: Run | None) -> Iterator[str]:
        """The box's log is the fast one; that of a run, which is always in sight, stands still."""
        yield f"{kind} log of {box.name}"
        number = 0
        while kind == "box":
            for _ in range(LINES // 100):
                number += 1
                yield f"step {number}: loss 0.1234 lr 3e-4 throughput 1234.5 tokens/s gpu 0..7"
            time.sleep(0.01)


def _body(number: int, gpus: int) -> bytes:
    made = plain(fakes.sample(0, fakes.NOW + number, gpus))
    for key in ("boot", "seq", "t", *(["processes"] if number % 5 else [])):
        made.pop(key)
    return json.dumps(made).encode()[1:]


def memory() -> None:
    """Ten simulated hours of ten boxes; prints the memory in bytes after the second hour and at
    the end."""
    import psutil

    feed = LoadFeed(boxes=10)
    app = _app(feed)

    async def hours() -> None:
        async with app.run_test(size=(160, 50)) as pilot:
            await feed.stop()
            began, process = time.time(), psutil.Process()
            for second in range(10 * 3600):
                feed._seq += 1
                feed.second(slice(None), began + second)
                if second % 30 == 0:
                    app.turn()
                    await pilot.pause(0)
                if second in (2 * 3600, 10 * 3600 - 1):
                    print(process.memory_info().rss, flush=True)

    asyncio.run(hours())


def _app(feed: LoadFeed) -> Dashboard:
    operations = fakes.FakeOperations()
    asks = LoadAsks(Path(tempfile.gettempdir()))
    return Dashboard(feed, asks, operations, Settings(), loaded=gc.freeze)  # type: ignore[arg-type]


if __name__ == "__main__":
    if sys.argv[1:] == ["memory"]:
        memory()
    else:
        _app(LoadFeed()).run()

"""The logs of a batch's parts, each line with its worker's number in front."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

from devbox.errors import DevboxError
from devbox.jobs.follow import Ended, Line, follow
from devbox.model import Batch, BoxState, Run, RunState
from devbox.scale import batch as batches
from devbox.text import size
from devbox.workspace import Workspace

_LOOK = 1.0  # seconds between two looks for new workers


def log_lines(ws: Workspace, batch: Batch, *, wait: bool) -> Iterator[str]:
    """Lines as they come from every part at once. wait: until the batch is over, with the workers
    that come meanwhile."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    readers: dict[str, threading.Thread] = {}
    while True:
        for run in batches.parts(ws, batch):
            if run.id not in readers:
                reader = threading.Thread(target=_read, args=(ws, run, lines, wait), daemon=True)
                readers[run.id] = reader
                reader.start()
        reading = any(reader.is_alive() for reader in readers.values())
        known = ws.store.batches.get(batch.id)
        goes_on = wait and known is not None and known.state is RunState.RUNNING
        try:
            yield lines.get(timeout=_LOOK if reading or goes_on else 0)
        except queue.Empty:
            if not reading and not goes_on:
                return


def _read(ws: Workspace, run: Run, lines: queue.SimpleQueue[str], wait: bool) -> None:
    mark = f"w{run.id.rpartition('-w')[2]} | "
    box = ws.store.boxes.get(run.box_id)
    if box is None or box.state is not BoxState.RUNNING:
        _fetched(run, batches.part_log(ws, run), mark, lines)
        return
    begun = ""
    try:
        for message in follow(ws, run, wait=wait):
            match message:
                case Line(text, end, dropped):
                    if dropped:
                        lines.put(f"{mark}… {size(dropped)} were dropped here …")
                    begun += text
                    if end:
                        lines.put(mark + begun)
                        begun = ""
                case Ended():
                    break
    except DevboxError as error:
        lines.put(f"{mark}{run.box_name}: {error.what}")
    if begun:
        lines.put(mark + begun)


def _fetched(run: Run, text: str | None, mark: str, lines: queue.SimpleQueue[str]) -> None:
    if text is None:
        lines.put(f"{mark}{run.box_name} is not running, and its log was not fetched")
        return
    for line in text.splitlines():
        lines.put(mark + line)

"""`devbox top`: what boxes do right now."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING

import click

from devbox.cli.common import box_argument, json_option, narrate, page, print_json, workspace
from devbox.cli.following import following
from devbox.errors import Conflict, NotFound, SshError
from devbox.model import Box, BoxState
from devbox.text import dollars

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from devbox.telemetry.live import LiveTelemetry
    from devbox.wire.messages import Sample
    from devbox.workspace import Workspace

_STYLES = {"good": "green", "warn": "yellow", "bad": "red", "accent": "cyan"}
_REDRAW = 0.5  # seconds
_LOOK = 0.05
_PATIENCE = 20.0  # seconds a first sample may take


@click.command("top")
@box_argument()
@click.option("--once", is_flag=True, help="Show the present sample of each box and end.")
@json_option
def top_command(box_name: str | None, once: bool, as_json: bool) -> None:
    """Live CPU, memory, disk, network, GPUs and processes of a box, or of all running ones.

    Ends with Ctrl-C. Without a terminal it shows the present sample once, unless --json asks for
    the stream: one JSON object a line, {"version", "kind": "sample", "box", "sample"}.
    """
    ws = workspace()
    boxes = _boxes(ws, box_name)
    notes = {box.name: _price(ws, box) for box in boxes}
    ws.store.close()
    if once or not (as_json or sys.stdout.isatty()):
        asyncio.run(_once(boxes, notes, as_json))
        return
    # Ctrl-C is how one leaves: nothing was interrupted
    with suppress(KeyboardInterrupt), following():
        asyncio.run(_json(boxes) if as_json else _live(boxes, notes))


def _boxes(ws: Workspace, name: str | None) -> list[Box]:
    if name is None:
        found = [b for b in ws.store.boxes.all() if b.state is BoxState.RUNNING and b.endpoint]
        if not found:
            raise NotFound("no box is running", fix="bring one up with: devbox up")
        return found
    box = ws.box(name)
    if box.state is not BoxState.RUNNING or not box.endpoint:
        verb = "resume" if box.state is BoxState.PAUSED else "up"
        raise Conflict(
            f"box {box.name} is {box.state}: it has no telemetry", fix=f"devbox {verb} {box.name}"
        )
    return [box]


def _price(ws: Workspace, box: Box) -> str:
    interval = ws.store.ledger.current(box.id)
    return dollars(interval.price.micro_per_hour, per_hour=True) if interval else ""


@asynccontextmanager
async def _followed(boxes: Sequence[Box], history: float) -> AsyncIterator[list[LiveTelemetry]]:
    """A cell for each box, kept fresh meanwhile."""
    from devbox.telemetry.live import LiveTelemetry, follow

    cells = [LiveTelemetry(box.name) for box in boxes]
    async with AsyncExitStack() as stack:
        for box, cell in zip(boxes, cells, strict=True):
            task = asyncio.create_task(follow(box, cell, history=history))
            stack.push_async_callback(_end, task)
        yield cells


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    # gather hands a failure of the task back as a value; only our own cancellation passes
    for result in await asyncio.gather(task, return_exceptions=True):
        if isinstance(result, Exception):
            raise result


async def _first(cells: Sequence[LiveTelemetry]) -> list[LiveTelemetry]:
    """Wait until every box has shown a sample, was refused, or took too long. Those without."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _PATIENCE
    while loop.time() < deadline:
        waiting = [c for c in cells if c.sample is None and c.status != "refused"]
        # a box whose sampler is dead says so in its heartbeat, and will not send a sample
        if not [c for c in waiting if c.agent is not False]:
            break
        await asyncio.sleep(_LOOK)
    return [cell for cell in cells if cell.sample is None]


async def _once(boxes: Sequence[Box], notes: dict[str, str], as_json: bool) -> None:
    import time

    from devbox.cli import top_view

    async with _followed(boxes, history=30.0) as cells:
        missing = await _first(cells)
        shown = [cell for cell in cells if cell.sample]
        now = time.time()
        few = {} if len(cells) > 1 else {"processes": top_view.PROCESSES}
        drawn = [top_view.lines(cell, now, note=notes[cell.name], **few) for cell in shown]
    if as_json:
        for cell in shown:
            _print(cell.name, cell.sample)
    elif drawn:
        page("\n\n".join(map(top_view.plain, drawn)))
    _complain(missing)


async def _json(boxes: Sequence[Box]) -> None:
    async with _followed(boxes, history=0.0) as cells:
        told = dict.fromkeys((cell.name for cell in cells), "")
        while True:
            for cell in cells:
                while cell.samples:
                    _print(cell.name, cell.samples.popleft())
                if cell.error and cell.error != told[cell.name]:
                    narrate(f"{cell.name}: {cell.error}")
                told[cell.name] = cell.error
            await asyncio.sleep(_LOOK)


def _print(name: str, sample: Sample | None) -> None:
    from devbox.wire.codec import plain

    print_json("sample", box=name, sample=plain(sample))


async def _live(boxes: Sequence[Box], notes: dict[str, str]) -> None:
    import time

    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    from devbox.cli import top_view

    console = Console()

    def draw(cells: Sequence[LiveTelemetry]) -> Group:
        rows: list[Text] = []
        few = {} if len(cells) > 1 else {"processes": top_view.PROCESSES}
        for cell in cells:
            found = top_view.lines(cell, time.time(), console.width, notes[cell.name], **few)
            for row in found:
                styled = [(text, _STYLES.get(style, style)) for text, style in row]
                rows.append(Text.assemble(*styled, no_wrap=True))
            rows.append(Text())
        return Group(*rows[: max(1, console.height - 1)])

    async with _followed(boxes, history=10.0) as cells:
        with Live(draw(cells), console=console, screen=True, auto_refresh=False) as live:
            while True:
                await asyncio.sleep(_REDRAW)
                live.update(draw(cells), refresh=True)


def _complain(missing: Sequence[LiveTelemetry]) -> None:
    if not missing:
        return
    for cell in missing[1:]:
        narrate(f"{cell.name}: {cell.error or 'no sample came'}")
    cell = missing[0]
    raise SshError(
        f"no sample came from {cell.name}" + (f": {cell.error}" if cell.error else ""),
        means="it may run and cost all the same",
        fix=f"devbox up {cell.name} puts the watchdog back; devbox doctor {cell.name} looks deeper",
    )

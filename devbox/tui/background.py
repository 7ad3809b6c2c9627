"""Blocking calls off the event loop, on threads that never hold up the end of the program.

asyncio's own thread pool is waited for when the loop closes, so a call that hangs on a dead
network would hang `q`. These threads are daemons, and what they run is safe to cut: questions
only. What changes something is an operation in its own process (see `operations`).
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import TypeVar

import psutil

T = TypeVar("T")
_NAMED = "devbox-"
_PATIENCE = 0.2  # seconds for what is asked to end, and for what is killed


async def call(function: Callable[[], T], name: str = "ask") -> T:
    """The function's result, run on a thread of its own. Cancelling stops the waiting only."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if answer.done():
            return
        if error is None:
            answer.set_result(result)  # type: ignore[arg-type]
        else:
            answer.set_exception(error)

    def run() -> None:
        result, failed = None, None
        try:
            result = function()
        except BaseException as error:
            failed = error
        # the loop is closed when the dashboard ended meanwhile: then nobody waits
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, result, failed)

    threading.Thread(target=run, name=f"{_NAMED}{name}", daemon=True).start()
    return await answer


def end_children(spared: Collection[int] = ()) -> None:
    """End every process this one started and that still runs, but the spared ones, and what
    questions on cut threads start meanwhile. None is reaped: whoever started it reads its exit
    code, and would take one that is missing for 0."""
    until = time.monotonic() + _PATIENCE
    while True:
        doomed, late = _running(spared), time.monotonic() > until
        for process in doomed:
            with suppress(psutil.Error):
                process.kill() if late else process.terminate()
        asking = any(each.name.startswith(_NAMED) for each in threading.enumerate())
        if ((late or not asking) and not doomed) or time.monotonic() > until + _PATIENCE:
            return
        time.sleep(0.01)


def _running(spared: Collection[int]) -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.Error):
            if child.pid not in spared and child.status() != psutil.STATUS_ZOMBIE:
                found += [child, *child.children(recursive=True)]
    return found

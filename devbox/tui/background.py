"""Blocking calls off the event loop, on threads that never hold up the end of the program.

asyncio's own thread pool is waited for when the loop closes, so a call that hangs on a dead
network would hang `q`. These threads are daemons, and what they run is safe to cut: questions
only. What changes something is an operation in its own process (see `operations`).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


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

    threading.Thread(target=run, name=f"devbox-{name}", daemon=True).start()
    return await answer


def end_children(spared: Collection[int] = ()) -> None:
    """End every process this one started and that still runs, but the spared ones: what a
    question on a cut thread left behind."""
    import psutil

    children = [child for child in psutil.Process().children() if child.pid not in spared]
    doomed = [*children, *(below for child in children for below in _below(child))]
    for process in doomed:
        with suppress(psutil.Error):
            process.terminate()
    _, alive = psutil.wait_procs(doomed, timeout=0.2)
    for process in alive:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=0.2)


def _below(process: object) -> list[object]:
    import psutil

    try:
        return list(process.children(recursive=True))  # type: ignore[attr-defined]
    except psutil.Error:
        return []

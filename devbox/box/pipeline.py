"""Work through a job's items with reading and writing beside the work: while one item is worked on,
the next ones are loaded and the last ones saved.

    pipeline.run(job, paths, load=lambda name: decode(paths[name]), work=infer, save=write)

What `with job.item(name)` promises holds here too: an exception in any of the three fails that item
only, an item is done once its outputs are written, and results are saved in the order of the items.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Callable, Deque, Generic, Iterable, TypeVar

from devbox.box.job import Job

L = TypeVar("L")  # what is loaded
R = TypeVar("R")  # what the work makes of it


class _Begun(Generic[L]):
    """An item whose load was begun, at `at` on the monotonic clock."""

    def __init__(self, name: str, at: float, loaded: "Future[L]") -> None:
        self.name, self.at, self.loaded = name, at, loaded


def run(
    job: Job,
    names: Iterable[str],
    *,
    load: Callable[[str], L],
    work: Callable[[str, L], R],
    save: Callable[[str, R], object],
    ahead: int = 2,
    behind: int = 2,
) -> None:
    """Every item of `names` that still needs work: save(name, work(name, load(name))).

    load runs in one thread of its own, work in the caller's, save in another one; each sees the
    items in order. At most `ahead` items are loaded before they are needed, and at most `behind`
    wait to be saved, so memory is bounded. A cancel ends it after what runs at that moment; what
    was only loaded is left for the next attempt. An item that may have crashed an earlier worker
    runs with nothing beside it, so that a second crash has one cause."""
    loader, saver = (ThreadPoolExecutor(1, f"pipeline-{part}") for part in ("load", "save"))
    waiting: Deque[_Begun[L]] = deque()
    saving: Deque["Future[None]"] = deque()

    def advance(keep: int) -> None:
        """Work on what is loaded, the oldest first, until only `keep` items wait."""
        while len(waiting) > keep and not job.cancelled:
            item = waiting.popleft()
            done: Future[R] = Future()
            try:
                done.set_result(work(item.name, item.loaded.result()))
            except Exception as raised:
                done.set_exception(raised)
            while len(saving) >= behind:
                saving.popleft().result()
            saving.append(saver.submit(_finish, job, item, save, done))
        while not keep and saving:
            saving.popleft().result()

    try:
        for name in job.items(names):
            alone = name in job.suspects
            if alone:
                advance(0)
            waiting.append(_Begun(name, job.begin(name), loader.submit(load, name)))
            advance(0 if alone else ahead)
        advance(0)
    finally:
        loader.shutdown(cancel_futures=True)
        saver.shutdown()


def _finish(
    job: Job,
    item: _Begun[L],
    save: Callable[[str, R], object],
    done: "Future[R]",
) -> None:
    with job.item(item.name, begun=item.at):
        save(item.name, done.result())

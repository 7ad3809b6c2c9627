"""The worker processes of one GPU function."""

from __future__ import annotations

import multiprocessing
import threading
from contextlib import contextmanager
from typing import Callable, Dict, Iterator, Set


class Workers:
    """spaces keeps, for each function and GPU, the worker whose call ended last. Others, of calls
    at the same time or of a GPU that had to be set up again, live on unused until the Space
    ends. They are ended here while no call runs: then it is certain which one is kept."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = 0
        self._kept: Dict[str, int] = {}
        self._forgotten: Set[int] = set()

    @contextmanager
    def call(self) -> Iterator[Callable[[int, str, bool], None]]:
        """Around one call; yields what is to be called with each answer's process, GPU, and
        whether the process is broken."""
        with self._lock:
            self._running += 1
        try:
            yield self._seen
        finally:
            with self._lock:
                self._running -= 1
                if not self._running:
                    _end(self._forgotten)
                    self._forgotten = set()

    def _seen(self, pid: int, device: str, broken: bool) -> None:
        with self._lock:
            before = self._kept.pop(device, pid)
            if before != pid:
                self._forgotten.add(before)
            if broken:
                self._forgotten.add(pid)
            else:
                self._kept[device] = pid
                self._forgotten.discard(pid)


def _end(pids: Set[int]) -> None:
    if not pids:
        return
    for child in multiprocessing.active_children():
        if child.pid in pids:
            child.kill()
            child.join(5)

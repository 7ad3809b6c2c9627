"""Calls that may hang (a sick driver, a dead file server) made on a thread of their own."""

from __future__ import annotations

import threading
from typing import Callable, Generic, List, Optional, TypeVar

T = TypeVar("T")


class Detached(Generic[T]):
    """Calls `read` on a daemon thread, once per `get`, and never waits longer than `patience`.

    A reading in time is returned fresh. Otherwise the last one is, until it is `stale` seconds
    old by the caller's clock; then None. An OSError of `read` is a reading of None.
    """

    def __init__(self, read: Callable[[], T], *, patience: float, stale: float) -> None:
        self._read, self._patience, self._stale = read, patience, stale
        self._wanted, self._done = threading.Event(), threading.Event()
        self._value: Optional[T] = None
        self._at = float("-inf")
        self._asked_at = 0.0
        self._busy = False
        self._thread: Optional[threading.Thread] = None

    def get(self, now: float) -> Optional[T]:
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, daemon=True)
            self._thread.start()
        if not self._busy:
            self._busy, self._asked_at = True, now
            self._done.clear()
            self._wanted.set()
        self._done.wait(self._patience)
        return self._value if now - self._at <= self._stale else None

    def _serve(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            try:
                value: Optional[T] = self._read()
            except OSError:
                value = None
            self._value, self._at = value, self._asked_at
            self._busy = False
            self._done.set()


def within(seconds: float, work: Callable[[], T]) -> Optional[T]:
    """What `work` returns, or raises; None when it takes longer. It then continues on a daemon
    thread, and nobody hears of its end."""
    found: List[T] = []
    failed: List[Exception] = []

    def run() -> None:
        try:
            found.append(work())
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(max(0.0, seconds))
    if failed:
        raise failed[0]
    return found[0] if found else None

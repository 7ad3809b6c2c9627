"""A bound on calls that nothing can end, such as one on a hung mount."""

from __future__ import annotations

import threading
from typing import Callable, List, Optional, TypeVar

T = TypeVar("T")


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

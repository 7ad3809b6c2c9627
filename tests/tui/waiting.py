"""Waiting for a condition, with a deadline far beyond what a busy machine needs."""

from __future__ import annotations

import time
from collections.abc import Callable

DEADLINE = 120.0  # seconds


def until(condition: Callable[[], object], what: Callable[[], str] = str) -> None:
    """Return when it holds; what: says at the deadline how things stand instead."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"not so after {DEADLINE:g} s: {what()}"
        time.sleep(0.05)

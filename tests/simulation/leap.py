"""Time in which nothing changes, passed in one step.

A box that is used in one way, or not at all, changes the policy's memory in one way too: each
number in it stands still or grows evenly. Two equal steps show how, and any number of further ones
are added up. Where two steps differ, nothing is leapt over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from devbox.box.watchdog.policy import State


def is_even(last: Sequence[State]) -> bool:
    """Whether there are three, and they differ evenly."""
    return len(last) == 3 and _even(*last)


def leap(last: Sequence[State], steps: float) -> State | None:
    """The state `steps` equal steps after the last one. None unless there are three, and they
    differ evenly."""
    if not is_even(last):
        return None
    _, second, third = last
    found: State = _moved(second, third, steps)
    return found


def _even(first: Any, second: Any, third: Any) -> bool:
    if first == second == third:  # most parts stand still, and this is the fastest way to see it
        return True
    if isinstance(third, tuple):
        return (
            isinstance(first, tuple)
            and isinstance(second, tuple)
            and len(first) == len(second) == len(third)
            and all(_even(a, b, c) for a, b, c in zip(first, second, third, strict=True))
        )
    if _is_number(first) and _is_number(second) and _is_number(third):
        return bool(abs((third - second) - (second - first)) < 1e-3)
    return False


def _moved(second: Any, third: Any, steps: float) -> Any:
    if second == third:
        return third
    if isinstance(third, tuple):
        parts = [_moved(b, c, steps) for b, c in zip(second, third, strict=True)]
        return type(third)(*parts) if hasattr(third, "_fields") else tuple(parts)
    if _is_number(third):
        return third + (third - second) * steps
    return third


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)

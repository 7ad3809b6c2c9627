"""Durations and sizes in the one form a user reads, on both halves."""

from __future__ import annotations

from typing import Optional


def duration(seconds: Optional[float]) -> str:
    """47.2 → '47s', 1800 → '30m', 4000 → '1h06m', 200000 → '2d7h', None → '–'."""
    if seconds is None:
        return "–"
    s = max(0, int(seconds))
    if s < 60:
        return f"{s}s"
    if s < 3600:
        large, small = f"{s // 60}m", f"{s % 60:02d}s"
    elif s < 86400:
        large, small = f"{s // 3600}h", f"{s % 3600 // 60:02d}m"
    else:
        large, small = f"{s // 86400}d", f"{s % 86400 // 3600}h"
    return large + ("" if not int(small[:-1]) else small)


def brief(seconds: float) -> str:
    """As `duration`, without seconds from a minute up: 430 → '7m', 7200 → '2h'."""
    s = max(0, int(seconds + 0.5))  # what was asked for as 2h is 1h59m59.9s a moment later
    if 60 <= s < 3600:
        return f"{s // 60}m"
    return duration(s)


def size(count: Optional[float]) -> str:
    """Bytes → '1.5 GB' in binary units; None → '–'."""
    if count is None:
        return "–"
    for unit in ("B", "KB", "MB", "GB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TB"

"""Text for people: untrusted text made harmless; durations, sizes and dollars in one form."""

from __future__ import annotations

import re

from devbox.onbox.units import brief, duration, size
from devbox.onbox.wire import clean

__all__ = ["brief", "clean", "dollars", "duration", "parse_duration", "parse_size", "size"]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZES = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?[smhd])+")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)i?B?", re.IGNORECASE)


def parse_duration(text: str) -> float:
    """'90s', '30m', '1h30m', '2d' → seconds. ValueError on anything else."""
    if len(text) > 40 or not _DURATION.fullmatch(text):
        raise ValueError(f"{clean(text, 40)!r} is not a duration such as 90s, 30m, 1h30m or 2d")
    return sum(float(n) * _UNITS[u] for n, u in re.findall(r"([0-9]+(?:\.[0-9]+)?)([smhd])", text))


def parse_size(text: str) -> int:
    """'40GB', '512MB', '1.5TB' → bytes (binary units). ValueError on anything else."""
    match = _SIZE.fullmatch(text.strip()) if len(text) <= 40 else None
    if not match:
        raise ValueError(f"{clean(text, 40)!r} is not a size such as 512MB or 40GB")
    return int(float(match[1]) * _SIZES[match[2].upper()])


def dollars(micro: float | None, *, per_hour: bool = False) -> str:
    """Micro-dollars → '$1.24'; under a dollar four digits, so that cents never vanish.
    None → 'unknown'."""
    if micro is None:
        return "unknown"
    value = micro / 1_000_000
    text = f"${value:,.2f}" if abs(value) >= 1 or value == 0 else f"${value:.4f}"
    return f"{text}/h" if per_hour else text

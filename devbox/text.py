"""Text for people: untrusted text made harmless; durations, sizes and dollars in one form."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable

from devbox.box.format import brief, duration, size
from devbox.wire.codec import clean

__all__ = [
    "brief",
    "clean",
    "dollars",
    "duration",
    "local_time",
    "parse_duration",
    "parse_size",
    "size",
]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZES = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?[smhd])+")
_BARE = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,6})?")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(?:([KMGT])i?B?|B)", re.IGNORECASE)
#: beyond these a number is a slip of the pen, and arithmetic with clocks and disks would overflow
_LONGEST = 10 * 366 * 86400.0
_LARGEST = 1 << 60


def parse_duration(text: str) -> float:
    """'90s', '30m', '1h30m', '2d' → seconds, up to ten years. ValueError on anything else, a
    number without a unit included: 8 could be hours, minutes or seconds."""
    if len(text) > 40 or not _DURATION.fullmatch(text):
        unit = f": write {text}s, {text}m or {text}h" if _BARE.fullmatch(text) else ""
        raise ValueError(
            f"{clean(text, 40)!r} is not a duration such as 90s, 30m, 1h30m or 2d{unit}"
        )
    seconds = sum(
        float(n) * _UNITS[u] for n, u in re.findall(r"([0-9]+(?:\.[0-9]+)?)([smhd])", text)
    )
    if seconds > _LONGEST:
        raise ValueError(f"{clean(text, 40)!r} is not a duration of up to ten years")
    return seconds


def parse_size(text: str) -> int:
    """'40GB', '512MB', '1.5TB', '358211B' → bytes (binary units), up to an exabyte. ValueError on
    anything else, a number without a unit included: 40 would be forty bytes."""
    text = text.strip()
    match = _SIZE.fullmatch(text) if len(text) <= 40 else None
    if not match:
        unit = f": write {text}GB, or {text}B for bytes" if _BARE.fullmatch(text) else ""
        raise ValueError(f"{clean(text, 40)!r} is not a size such as 512MB or 40GB{unit}")
    count = int(float(match[1]) * _SIZES[(match[2] or "").upper()])
    if count > _LARGEST:
        raise ValueError(f"{clean(text, 40)!r} is not a size of up to an exabyte")
    return count


def local_time(at: float, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Unix seconds by this computer's clock and zone; '–' for what no calendar holds."""
    try:
        return time.strftime(form, time.localtime(at))
    except (OverflowError, ValueError, OSError):
        return "–"


def dollars(micro: float | None, *, per_hour: bool = False) -> str:
    """Micro-dollars → '$1.24', '$0.80'; under a dollar four digits where cents do not say it all.
    None → 'unknown'."""
    if micro is None:
        return "unknown"
    value = micro / 1_000_000
    exact = f"{abs(value):.4f}"
    cents = abs(value) >= 1 or value == 0 or (exact.endswith("00") and exact != "0.0000")
    text = f"${value:,.2f}" if cents else f"${value:.4f}"
    return f"{text}/h" if per_hour else text


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that was probably meant; '' for none."""
    from difflib import get_close_matches  # why here: only an error needs it

    return next(iter(get_close_matches(word, [*known], n=1)), "")


def did_you_mean(word: str, known: Iterable[str], before: str = "") -> str:
    """'did you mean X? ', to put before a fix; '' for nothing near. before: of X, as "devbox "."""
    close = nearest(word, known)
    return f"did you mean {before}{close}? " if close else ""


def counted(number: int, noun: str) -> str:
    """A number of things whose name takes an s: 1 file, 1,200 files."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"

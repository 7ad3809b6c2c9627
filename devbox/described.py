"""Types that msgspec reads, described before they are read.

msgspec 0.22 notes on a Struct what its fields are while it reads the first one. A thread that reads
the same type meanwhile finds half of that, and crashes Python.
"""

from __future__ import annotations

import threading
from typing import TypeVar

import msgspec

T = TypeVar("T")
_lock = threading.Lock()
_known: set[object] = set()


def described(kind: T) -> T:
    """The same type, which any thread may read from now on."""
    if kind not in _known:
        with _lock:
            msgspec.json.Decoder(kind)
            _known.add(kind)
    return kind

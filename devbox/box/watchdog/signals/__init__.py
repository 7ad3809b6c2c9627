"""What each kind of measurement says about use: pure folds over samples, one module a kind.

A signal is an immutable value. `observe` gives the next one from a part of a sample, and
`findings` says what it shows. Times are seconds of the clock that never jumps.

Three cases are kept apart everywhere: in use, quiet, and *silent* (it could be measured before
and cannot be now). Silence is not idleness: it counts as use until the ceiling. What could never
be measured on a box says nothing either way.
"""

from __future__ import annotations

from typing import NamedTuple, Optional

from devbox.box.format import brief

ACTIVE, QUIET, SILENT = "active", "quiet", "silent"


class Finding(NamedTuple):
    """One line of the reasons. kind: active, quiet or silent."""

    kind: str
    text: str


class Tuning(NamedTuple):
    """Policy numbers the signals need. window: seconds that rates are taken over; patience:
    seconds without a value after which a signal counts as silent; per cent and bytes a minute
    as in devbox.spec.Idle."""

    window: float = 60.0
    patience: float = 60.0
    gpu_util: float = 5.0
    cpu_util: float = 20.0
    ssh_bytes: float = 2048.0
    net_bytes: float = 64.0 * (1 << 20)
    stuck_after: float = 7200.0


def is_recent(at: Optional[float], now: float, within: float) -> bool:
    """Whether something happened within the last `within` seconds."""
    return at is not None and now - at < within


def silence(what: str, seen: float, now: float) -> Finding:
    """The finding of a signal that stopped coming."""
    return Finding(
        SILENT, f"{what} could not be measured for {brief(now - seen)}; silence is not idleness"
    )

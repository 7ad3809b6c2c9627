"""CPU and network, averaged over the window, so that a short spike is not use.

CPU: per cent of the box's cores, of which at most four are counted: on a box with 64 cores one
busy thread is 1.6 % of the whole and still someone's work (the default 20 % is 0.8 cores there).
Network: a download of weights uses little of anything else; loopback is not in the numbers.
"""

from __future__ import annotations

from typing import List, NamedTuple, Optional, Tuple

from devbox.box.format import size
from devbox.box.json_file import number
from devbox.box.watchdog.signals import ACTIVE, QUIET, Finding, Tuning, is_recent, silence

CORES_COUNTED = 4


class Mean(NamedTuple):
    """Values of the last window, with their times, oldest first; value: their mean."""

    points: Tuple[Tuple[float, float], ...] = ()
    value: float = 0.0

    def add(self, value: float, now: float, window: float) -> Mean:
        old = 0
        while old < len(self.points) and now - self.points[old][0] >= window:
            old += 1
        kept = (*self.points[old:], (now, value))
        return Mean(kept, sum([each for _, each in kept]) / len(kept))


class Cpu(NamedTuple):
    mean: Mean = Mean()
    cores: int = 1
    seen: Optional[float] = None
    used: Optional[float] = None

    def observe(self, part: object, tuning: Tuning, now: float) -> Cpu:
        if not isinstance(part, dict):
            return self
        util = number(part.get("util"))
        if util is None:
            return self
        cores = int(number(part.get("count")) or 1)
        mean = self.mean.add(min(util, 100.0), now, tuning.window)
        busy = mean.value >= _cpu_limit(tuning, cores)
        return Cpu(mean, cores, now, now if busy else self.used)

    def findings(self, tuning: Tuning, now: float) -> List[Finding]:
        if self.seen is None:
            return []
        if now - self.seen > tuning.patience:
            return [silence("the CPU", self.seen, now)]
        limit = _cpu_limit(tuning, self.cores)
        busy = self.cores * self.mean.value / 100
        kind = ACTIVE if is_recent(self.used, now, tuning.window) else QUIET
        return [
            Finding(
                kind,
                f"CPU at {self.mean.value:.0f} %, {busy:.1f} of {self.cores} cores "
                f"(quiet below {self.cores * limit / 100:.1f} cores)",
            )
        ]


class Network(NamedTuple):
    rx: Mean = Mean()
    tx: Mean = Mean()
    seen: Optional[float] = None
    used: Optional[float] = None

    def observe(self, part: object, tuning: Tuning, now: float) -> Network:
        rx = number(part.get("rx_bps")) if isinstance(part, dict) else None
        tx = number(part.get("tx_bps")) if isinstance(part, dict) else None
        if rx is None and tx is None:
            return self
        inward = self.rx.add(rx or 0.0, now, tuning.window)
        outward = self.tx.add(tx or 0.0, now, tuning.window)
        busy = max(inward.value, outward.value) * 60 >= tuning.net_bytes
        return Network(inward, outward, now, now if busy else self.used)

    def findings(self, tuning: Tuning, now: float) -> List[Finding]:
        # Only a transfer is told: network never proves that a box is quiet.
        if not is_recent(self.used, now, tuning.window):
            return []
        rate = max(self.rx.value, self.tx.value)
        limit = size(tuning.net_bytes / 60)
        return [Finding(ACTIVE, f"network at {size(rate)}/s (quiet below {limit}/s)")]


def _cpu_limit(tuning: Tuning, cores: int) -> float:
    """Per cent of all cores."""
    return tuning.cpu_util * min(1.0, CORES_COUNTED / max(1, cores))

"""What the box is busy with by its own account: running jobs, and requests it has served."""

from __future__ import annotations

from typing import List, NamedTuple, Optional, Sequence, Tuple

from devbox.box.format import brief
from devbox.box.json_file import number
from devbox.box.watchdog.signals import ACTIVE, QUIET, Finding, Tuning, is_recent, silence
from devbox.wire.codec import clean


class Jobs(NamedTuple):
    """A running job is use, whatever the hardware does meanwhile; one that waits for a
    round or for its turn is none, but what it waits for may be."""

    running: Tuple[str, ...] = ()
    waiting: Tuple[str, ...] = ()
    seen: Optional[float] = None
    used: Optional[float] = None

    def observe(self, part: object, waiting: object, now: float) -> Jobs:
        if not isinstance(part, list):
            return self
        running = _names(part)
        waits = _names(waiting) if isinstance(waiting, list) else ()
        return Jobs(running, waits, now, now if running else self.used)

    def findings(self, tuning: Tuning, now: float) -> List[Finding]:
        if self.seen is None:
            return []
        if now - self.seen > tuning.patience:
            return [silence("the list of jobs", self.seen, now)]
        if not self.running and self.waiting:
            more = f" and {len(self.waiting) - 1} more" if len(self.waiting) > 1 else ""
            return [Finding(QUIET, f"job {self.waiting[0]}{more}: waiting for a round")]
        if not self.running:
            return [Finding(QUIET, "no job runs")]
        if len(self.running) == 1:
            return [Finding(ACTIVE, f"job {self.running[0]} runs")]
        return [Finding(ACTIVE, f"{len(self.running)} jobs run, {self.running[0]} first")]


class Requests(NamedTuple):
    """Requests that services took, and those that are open. A service is no use by itself. One that
    stops takes its count with it, and that is not silence."""

    total: Optional[float] = None
    used: Optional[float] = None
    open: float = 0.0

    def observe(self, part: object, in_flight: object, now: float) -> Requests:
        total, is_open = number(part), number(in_flight) or 0.0
        if total is None:
            return self._replace(open=0.0)
        served = self.total is not None and total != self.total and total > 0
        return Requests(total, now if served or is_open else self.used, is_open)

    def findings(self, tuning: Tuning, now: float) -> List[Finding]:
        if self.total is None:
            return []
        if self.open:
            many = "a request is" if self.open == 1 else f"{self.open:g} requests are"
            return [Finding(ACTIVE, f"{many} being served")]
        if self.used is None:
            return [Finding(QUIET, "no request served")]
        kind = ACTIVE if is_recent(self.used, now, tuning.window) else QUIET
        return [Finding(kind, f"last request served {brief(now - self.used)} ago")]


def _names(part: Sequence[object]) -> Tuple[str, ...]:
    return tuple(clean(str(item), 60) for item in part[:100])

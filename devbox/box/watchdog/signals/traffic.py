"""A user at work, told apart from an editor that is merely open: ssh bytes and keystrokes.

In use is any of
- `ssh_bytes` (2048) a minute in one direction: output, an editor worked in, a transfer;
- a quarter of that (512) inbound within five seconds: a command typed, then silence;
- input at a terminal of the box ("tty" in the sample): someone typing, however slowly.

VS Code's Remote-SSH, left open, sends a keep-alive of 13 bytes on each of two connections every
5 s (ProtocolConstants.KeepAliveSendTime): about 312 bytes a minute each way, near 1,500 with ssh's
framing, and at most some 240 in any five seconds. It stays below all three, so an open laptop
does not keep a box awake. An extension that talks more does; raise `ssh_bytes` then.

Each rule only asks for enough of something, so more traffic never makes a box look idler.
"""

from __future__ import annotations

from typing import List, NamedTuple, Optional, Tuple

from devbox.box.format import brief, size
from devbox.box.json_file import number
from devbox.box.watchdog.signals import ACTIVE, QUIET, Finding, Tuning, is_recent, silence

BURST_SHARE = 4
BURST_SECONDS = 5.0


class Ssh(NamedTuple):
    """last: (rx, tx) counters; recent: (time, rx, tx) of what arrived in the window; since: when
    watching began."""

    last: Optional[Tuple[float, float]] = None
    recent: Tuple[Tuple[float, float, float], ...] = ()
    since: Optional[float] = None
    seen: Optional[float] = None
    used: Optional[float] = None

    def observe(
        self, part: object, tuning: Tuning, now: float, *, muted: Tuple[bool, bool] = (False, False)
    ) -> Ssh:
        """muted: (rx, tx) directions whose bytes are our own doing now and do not count."""
        values = part if isinstance(part, dict) else {}
        rx, tx = number(values.get("rx_bytes")), number(values.get("tx_bytes"))
        if rx is None and tx is None:
            nobody = values.get("sessions") == 0 and self.seen is not None
            return self._replace(seen=now) if nobody else self
        before = self.last or (0.0, 0.0)
        counters = (before[0] if rx is None else rx, before[1] if tx is None else tx)
        came_in, went_out = (
            0.0 if mute or self.last is None else _grown(self.last[side], counters[side])
            for side, mute in enumerate(muted)
        )
        nxt = self._replace(
            last=counters,
            seen=now,
            since=now if self.since is None else self.since,
            recent=tuple(point for point in self.recent if now - point[0] < tuning.window),
        )
        if not came_in and not went_out:
            return nxt
        nxt = nxt._replace(recent=(*nxt.recent, (now, came_in, went_out)))
        return nxt._replace(used=now) if nxt._in_use(tuning, now) else nxt

    def findings(self, tuning: Tuning, now: float) -> List[Finding]:
        if self.seen is None or self.since is None:
            return []
        if now - self.seen > tuning.patience:
            return [silence("ssh traffic", self.seen, now)]
        moved = sum(rx + tx for at, rx, tx in self.recent if now - at < tuning.window)
        rate = f"{size(moved * 60 / tuning.window)}/min"
        if is_recent(self.used, now, tuning.window):
            return [Finding(ACTIVE, f"ssh traffic of {rate}")]
        if moved:
            quiet = f"quiet below {size(tuning.ssh_bytes)}/min each way"
            return [Finding(QUIET, f"ssh traffic of {rate} ({quiet})")]
        last = self.since if self.used is None else max(self.since, self.used)
        return [Finding(QUIET, f"no ssh traffic for {brief(now - last)}")]

    def _in_use(self, tuning: Tuning, now: float) -> bool:
        limit = tuning.ssh_bytes * tuning.window / 60
        rx = sum(point[1] for point in self.recent)
        tx = sum(point[2] for point in self.recent)
        burst = sum(point[1] for point in self.recent if now - point[0] < BURST_SECONDS)
        typed = burst >= max(1.0, tuning.ssh_bytes / BURST_SHARE)
        return typed or max(rx, tx) >= limit


class Terminals(NamedTuple):
    """Input at any of the box's terminals. input_at: the box's time of the latest, used only to
    see that it changed (the kernel moves it in steps of 8 s)."""

    input_at: Optional[float] = None
    used: Optional[float] = None

    def observe(self, part: object, now: float) -> Terminals:
        found = number(part.get("input_at")) if isinstance(part, dict) else None
        if found is None:
            return self
        typed = self.input_at is not None and found > self.input_at
        return Terminals(found, now if typed else self.used)

    def findings(self, tuning: Tuning, now: float) -> List[Finding]:
        if self.used is None:
            return []
        kind = ACTIVE if is_recent(self.used, now, tuning.window) else QUIET
        return [Finding(kind, f"last keystroke at a terminal {brief(now - self.used)} ago")]


def _grown(before: float, after: float) -> float:
    """How much a counter grew; one that fell began again."""
    return after - before if after >= before else after

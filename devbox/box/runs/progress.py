"""What a run has done so far, kept from the reports of its work. Pure: time comes in.

A report is one JSON object a line in $DEVBOX_EVENTS; a user's own program may write them too:

    {"progress": [done, total], "unit": "frames", "message": "…"}   total may be null
    {"total": items}
    {"message": "…"}    what it is at
    {"item": name, "state": "done" | "failed" | "skipped", "error": "…"}
    {"stage": name} when it begins, {"stage": name, "seconds": s} when it ends
    {"port": number}    where a service listens on the box
    {"vram": bytes}     the peak, as the work itself measured it
    {"error": text}     why the run as a whole fails
"""

from __future__ import annotations

from collections import deque
from typing import Deque, Dict, Optional, Set, Tuple

from devbox.wire.codec import JsonObject, load_or_none
from devbox.wire.jobs import Counts, Failure, JobStatus

FAILURES = 100  # items named in the status; the others are counted
_NAME, _TEXT = 300, 500  # characters kept of a name and of a text
_MOST = 1e18  # a larger number cannot be a count
_LONG = 1e9  # seconds: nobody waits for what takes longer
_STAGES = 50  # stages timed
_WINDOW = 60.0  # seconds of progress that the rate is taken from


class Tally:
    """`done`, `skipped`: names of items that earlier attempts have finished. failed: name → why, of
    those that no later attempt works on."""

    def __init__(
        self, done: Set[str], skipped: Set[str], failed: Optional[Dict[str, str]] = None
    ) -> None:
        self.total: Optional[int] = None
        self.done, self.skipped = set(done), set(skipped)
        self.failed = dict(failed or {})
        self.unit, self.message, self.stage, self.error = "items", "", "", ""
        self.timings: Dict[str, float] = {}
        self.vram: Optional[int] = None
        self.port: Optional[int] = None
        self.eta: Optional[float] = None
        self._explicit: Optional[Tuple[float, Optional[float]]] = None
        self._past: Deque[Tuple[float, float]] = deque(maxlen=600)

    def feed(self, line: bytes, now: float) -> Optional[Failure]:
        """Take in one line; returns the item that it says has failed, for the first of them. A line
        that is not a report is left out: a user's program may write anything."""
        report = load_or_none(line)
        if report is None:
            return None
        failure = self._item(report)
        self._stage(report)
        self._numbers(report)
        self._look_ahead(now)
        return failure

    @property
    def progress(self) -> Tuple[float, Optional[float]]:
        """(done, total or None): as reported, else items."""
        if self._explicit is not None:
            return self._explicit
        return len(self.done) + len(self.skipped) + len(self.failed), self.total

    @property
    def missing(self) -> int:
        """Items that were announced and of which nothing was heard."""
        settled = len(self.done) + len(self.skipped) + len(self.failed)
        return max(0, (self.total or 0) - settled)

    def told(self, status: JobStatus) -> JobStatus:
        """`status` with what is known here."""
        named = list(self.failed.items())[:FAILURES]
        return status._replace(
            counts=Counts(self.total, len(self.done), len(self.failed), len(self.skipped)),
            progress=self.progress,
            unit=self.unit,
            eta=self.eta,
            stage=self.stage,
            note=self.message,
            timings={name: round(value, 3) for name, value in self.timings.items()},
            failures=tuple(Failure(_text(item, _NAME), error) for item, error in named),
            failures_dropped=len(self.failed) - len(named),
        )

    def _item(self, report: JsonObject) -> Optional[Failure]:
        name, state = report.get("item"), report.get("state")
        if not isinstance(name, str) or state not in ("done", "failed", "skipped"):
            return None
        for known in (self.done, self.skipped):
            known.discard(name)
        self.failed.pop(name, None)
        if state == "failed":
            self.failed[name] = _text(report.get("error"), _TEXT)
            many = len(self.failed) > FAILURES
            return None if many else Failure(_text(name, _NAME), self.failed[name])
        (self.done if state == "done" else self.skipped).add(name)
        return None

    def _stage(self, report: JsonObject) -> None:
        if not isinstance(report.get("stage"), str):
            return
        name, seconds = _text(report["stage"], 60), _number(report.get("seconds"))
        if seconds is not None:
            if name in self.timings or len(self.timings) < _STAGES:
                self.timings[name] = min(_MOST, self.timings.get(name, 0.0) + seconds)
            return
        self.stage = name

    def _numbers(self, report: JsonObject) -> None:
        pair = report.get("progress")
        if isinstance(pair, list) and len(pair) == 2:
            done, total = _number(pair[0]), _number(pair[1])
            if done is not None:
                self._explicit = (done, total)
                self.unit = _text(report.get("unit"), 20) or self.unit
                self.message = _text(report.get("message"), _TEXT)
        elif "message" in report:
            self.message = _text(report["message"], _TEXT)
        total = _number(report.get("total"))
        self.total = self.total if total is None else int(total)
        port = _number(report.get("port"))
        if port is not None and 0 < port < 1 << 16:
            self.port = int(port)
        vram = _number(report.get("vram"))
        if vram is not None:
            self.vram = max(int(vram), self.vram or 0)
        if "error" in report and "item" not in report:
            self.error = _text(report["error"], _TEXT)

    def _look_ahead(self, now: float) -> None:
        done, total = self.progress
        if self._past and done < self._past[-1][1]:
            self._past.clear()  # a new phase counts from the start
        if not self._past or now - self._past[-1][0] >= 0.1:
            self._past.append((now, done))
        while len(self._past) > 2 and self._past[1][0] < now - _WINDOW:
            self._past.popleft()
        then, before = self._past[0]
        if total is None or done <= before or now <= then:
            self.eta = 0.0 if total is not None and done >= total else self.eta
            return
        left = max(0.0, (total - done) * (now - then) / (done - before))
        self.eta = round(left, 1) if left < _LONG else None


def _number(value: object) -> Optional[float]:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if 0 <= value < _MOST else None


def _text(value: object, limit: int) -> str:
    return value[:limit] if isinstance(value, str) else ""

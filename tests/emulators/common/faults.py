"""Failure knobs: what a named call does wrong, and how many times."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from enum import Enum

__all__ = ["Fault", "FaultKind", "Knobs"]

ANY = "*"


class FaultKind(Enum):
    """How a call goes wrong. The transport kinds concern any call, the rest what it starts."""

    LATENCY = "latency"
    """The answer comes later; the effect happens."""
    LATE = "late"
    """The effect and then the answer come later, also when nobody waits any more."""
    STATUS = "status"
    """An error answer; no effect."""
    RESET = "reset"
    """The connection is cut before the effect."""
    REPLY_LOST = "reply_lost"
    """The effect happens, then the connection is cut without an answer."""
    BUILD_ERROR = "build_error"
    """The build this call starts fails, with ``lines`` at the end of its log."""
    LIST_LAG = "list_lag"
    """A listing leaves out what is younger than ``seconds``."""
    STOP_IGNORED = "stop_ignored"
    """A stop is answered as accepted, yet the box keeps running and billing."""
    HTML = "html"
    """Something between answers 200 with an HTML page in place of the provider; no effect."""
    BODY = "body"
    """The answer has status 200 and the fault's ``message`` as its body; no effect."""
    CUT_BODY = "cut_body"
    """The effect happens; half of the answer's body arrives, with status 200."""


TRANSPORT = frozenset(
    {
        FaultKind.LATENCY,
        FaultKind.LATE,
        FaultKind.STATUS,
        FaultKind.RESET,
        FaultKind.REPLY_LOST,
        FaultKind.HTML,
        FaultKind.BODY,
        FaultKind.CUT_BODY,
    }
)


@dataclass(frozen=True)
class Fault:
    """One failure. Build it with the class methods.

    ``status`` is an HTTP status; a gRPC emulator maps it (401 UNAUTHENTICATED,
    402 and 403 PERMISSION_DENIED, 429 RESOURCE_EXHAUSTED, 5xx UNAVAILABLE).
    """

    kind: FaultKind
    seconds: float = 0.0
    status: int = 0
    message: str = ""
    retry_after: float | None = None
    lines: tuple[str, ...] = ()

    @classmethod
    def latency(cls, seconds: float) -> Fault:
        """Answer after ``seconds`` of wall time."""
        return cls(FaultKind.LATENCY, seconds=seconds)

    @classmethod
    def late(cls, seconds: float) -> Fault:
        """Take effect and answer after ``seconds`` of emulator time, whoever still waits."""
        return cls(FaultKind.LATE, seconds=seconds)

    @classmethod
    def error(cls, status: int, message: str = "", retry_after: float | None = None) -> Fault:
        """Answer ``status`` without any effect."""
        return cls(
            FaultKind.STATUS,
            status=status,
            message=message or f"emulated {status}",
            retry_after=retry_after,
        )

    @classmethod
    def rate_limited(cls, retry_after: float = 1.0) -> Fault:
        """429 with ``Retry-After`` in seconds."""
        return cls.error(429, "Too many requests", retry_after)

    @classmethod
    def server_error(cls, status: int = 503) -> Fault:
        """A 5xx without any effect."""
        return cls.error(status, "Service unavailable")

    @classmethod
    def unauthorized(cls) -> Fault:
        """401: the token is missing or expired."""
        return cls.error(401, "Invalid credentials in Authorization header")

    @classmethod
    def payment_required(cls) -> Fault:
        """402: no payment method, or no credit left."""
        return cls.error(402, "Payment required: add a payment method to your account")

    @classmethod
    def forbidden(cls) -> Fault:
        """403: the token lacks the right."""
        return cls.error(403, "Forbidden: you don't have the right to do this")

    @classmethod
    def reset(cls) -> Fault:
        """Cut the connection before any effect."""
        return cls(FaultKind.RESET)

    @classmethod
    def reply_lost(cls) -> Fault:
        """Do it, then cut the connection instead of answering."""
        return cls(FaultKind.REPLY_LOST)

    @classmethod
    def html(cls) -> Fault:
        """Answer 200 with an HTML page, without any effect (HTTP emulators only)."""
        return cls(FaultKind.HTML)

    @classmethod
    def body(cls, text: str) -> Fault:
        """Answer 200 with this as JSON, without any effect (HTTP emulators only)."""
        return cls(FaultKind.BODY, message=text)

    @classmethod
    def cut_body(cls) -> Fault:
        """Do it, then answer with half of the body (HTTP emulators only)."""
        return cls(FaultKind.CUT_BODY)

    @classmethod
    def build_error(cls, *lines: str) -> Fault:
        """Fail the build that this call starts; ``lines`` end its log."""
        return cls(FaultKind.BUILD_ERROR, lines=lines or ("ERROR: emulated build failure",))

    @classmethod
    def list_lag(cls, seconds: float) -> Fault:
        """Leave out of this listing what is younger than ``seconds`` of emulator time."""
        return cls(FaultKind.LIST_LAG, seconds=seconds)

    @classmethod
    def stop_ignored(cls) -> Fault:
        """Accept the stop, but keep running."""
        return cls(FaultKind.STOP_IGNORED)


@dataclass
class _Armed:
    fault: Fault
    left: int | None


class Knobs:
    """Faults armed per route name; each use consumes one. Safe from any thread."""

    def __init__(self) -> None:
        self._armed: dict[str, list[_Armed]] = {}
        self._lock = threading.Lock()

    def set(self, route: str, fault: Fault, *, times: int | None = 1) -> None:
        """Arm ``fault`` on the next ``times`` calls of ``route`` (``None``: permanently).

        Faults of one route queue up in the order they were armed. Route
        ``"*"`` means every call; a route's own faults come first.
        """
        with self._lock:
            self._armed.setdefault(route, []).append(_Armed(fault, times))

    def clear(self, route: str | None = None) -> None:
        """Disarm one route, or all."""
        with self._lock:
            if route is None:
                self._armed.clear()
            else:
                self._armed.pop(route, None)

    def armed(self) -> dict[str, list[Fault]]:
        """What is still waiting to be used, by route."""
        with self._lock:
            return {route: [a.fault for a in armed] for route, armed in self._armed.items()}

    def take_transport(self, route: str) -> Fault | None:
        """Consume the next fault that concerns the call's connection or answer."""
        return self._take(route, TRANSPORT)

    def take(self, route: str, *kinds: FaultKind) -> Fault | None:
        """Consume the next fault of one of ``kinds``."""
        return self._take(route, frozenset(kinds))

    def _take(self, route: str, kinds: frozenset[FaultKind]) -> Fault | None:
        with self._lock:
            for name in (route, ANY):
                for armed in self._armed.get(name, []):
                    if armed.fault.kind not in kinds:
                        continue
                    if armed.left is not None:
                        armed.left -= 1
                        if armed.left <= 0:
                            self._armed[name].remove(armed)
                            if not self._armed[name]:
                                del self._armed[name]
                    return armed.fault
            return None

"""Which calls reached the emulator, and the hook a fault campaign kills from."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Phase = Literal["before", "after"]
OnCall = Callable[[str, Phase], bool | None]


@dataclass(frozen=True)
class Call:
    """One request: its route name, its moment (emulator seconds), and how it was answered.

    ``outcome`` is an HTTP status or a gRPC code as text, ``reset`` (cut before
    the effect), ``lost`` (cut after it), ``dropped`` (the hook said so) or
    ``gone`` (the client went away while it was answered).
    """

    route: str
    at: float
    outcome: str


class Calls:
    """The record of calls. ``on_call(route, phase)`` runs on the server's loop thread.

    ``before`` is the moment before a call has any effect, ``after`` the moment
    the effect is complete and nothing was answered yet. A hook that returns
    ``False`` before a call keeps it from having any effect: the connection is
    cut, as if the client had died before sending. The hook may block; the
    client waits meanwhile, and so does every other call.
    """

    def __init__(self) -> None:
        self.on_call: OnCall | None = None
        self._records: list[Call] = []
        self._unexpected: list[str] = []
        self._lock = threading.Lock()

    def tell(self, route: str, phase: Phase) -> bool:
        """Run the hook, if there is one; ``False`` means: drop this call."""
        return self.on_call is None or self.on_call(route, phase) is not False

    def record(self, route: str, at: float, outcome: str) -> None:
        """Note an answered call."""
        with self._lock:
            self._records.append(Call(route, at, outcome))

    def record_unexpected(self, what: str) -> None:
        """Note a call that the emulator does not implement."""
        with self._lock:
            self._unexpected.append(what)

    @property
    def records(self) -> list[Call]:
        """All calls so far, oldest first."""
        with self._lock:
            return list(self._records)

    @property
    def routes(self) -> list[str]:
        """The route names of all calls so far, oldest first."""
        return [call.route for call in self.records]

    @property
    def unexpected(self) -> list[str]:
        """Calls that the emulator does not implement; a test asserts this is empty."""
        with self._lock:
            return list(self._unexpected)

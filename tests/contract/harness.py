"""What the contract suite must know about a provider: one small class each.

A provider joins with a file `harness_NAME.py` beside this one that defines `HARNESS`, a subclass
of Harness. Its `able` says which tests apply; a test that needs more is not collected for it.
"""

from __future__ import annotations

import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from devbox.model import Box, BoxState
from devbox.providers.base import Observation, Provider, Request
from devbox.remote import keys, wait
from devbox.remote.config import ssh_config
from devbox.remote.connection import Connection
from devbox.spec import BoxSpec

T = TypeVar("T")
Wanted = Callable[[Observation | None], bool]

#: what a harness may list in `able`
ABILITIES = {
    "pause",  # the provider is CanPause
    "login",  # its boxes can be logged into, here and now
    "watchdog",  # its recipe can be run on the box and pauses or ends it
    "guarded",  # a box that nobody logs into and arms pauses or ends itself
    "ceiling",  # `short` makes boxes whose end `pass_uptime` brings about
    "fault:auth",  # `fault` can make its service refuse the credentials
    "fault:unavailable",  # `fault` can make its service fail for a while
}


def needs(*abilities: str) -> Callable[[T], T]:
    """Decorates a test that applies only to providers with all these abilities."""
    assert set(abilities) <= ABILITIES

    def mark(test: T) -> T:
        vars(test)["needs"] = set(abilities)
        return test

    return mark


class Harness(ABC):
    """One provider, and the service behind it. Made again for each test, in an own DEVBOX_HOME."""

    name: ClassVar[str]
    able: ClassVar[frozenset[str]]
    #: the request's hardware
    hardware: ClassVar[str] = "cpu"
    #: fields of BoxSpec that every request needs
    spec: ClassVar[dict[str, Any]] = {}
    #: a well-formed handle of a box that never was
    unknown: ClassVar[str] = "0123456789abcdef"

    def __init__(self, home: Path) -> None:
        self.home = home

    @abstractmethod
    def make(self) -> Provider:
        """A fresh provider object, as a second devbox process would have."""

    @abstractmethod
    def live(self) -> int:
        """How many boxes the service runs or bills now, counted behind the provider's back."""

    @abstractmethod
    def close(self) -> None:
        """End the service and every box."""

    def advance(self) -> None:
        """Let a little time pass for the service: real, or its fake clock's."""
        time.sleep(0.02)

    #: max_uptime in seconds of a box that `pass_uptime` brings to its end
    short: ClassVar[float] = 1.0

    def pass_uptime(self) -> None:
        """Let `short` seconds pass for the service. Needs "ceiling"."""
        time.sleep(self.short)

    def fault(self, kind: str) -> AbstractContextManager[None]:
        """While it holds, calls that change something fail: "auth" (the credentials are
        refused) or "unavailable" (a passing fault). Needs "fault:…"."""
        raise AssertionError(f"this provider declares no fault of kind {kind}")

    def request(self, name: str = "b", *, token: str | None = None, **spec: Any) -> Request:
        """A request that this provider can fulfil."""
        return Request(
            name=name,
            token=token or uuid.uuid4().hex,
            spec=BoxSpec(
                provider=self.name, **{"image": "cpu", "workdir": "work", **self.spec, **spec}
            ),
            hardware=self.hardware,
            public_key=keys.ensure_identity(),
            host_key=keys.new_host_key()[0],
            secrets={},
            root=str(self.home),
        )

    def until(
        self, provider: Provider, handle: str, wanted: Wanted, seconds: float = 120.0
    ) -> Observation | None:
        """Observe until it is as wanted. A passing fault is no answer."""
        deadline = time.monotonic() + seconds
        while True:
            seen = provider.observe(handle)
            if wanted(seen):
                return seen
            assert time.monotonic() < deadline, f"waited {seconds:.0f} s, last saw {seen}"
            self.advance()

    def running(self, provider: Provider, handle: str) -> Observation:
        """Wait until a box runs."""
        return self.reaches(provider, handle, BoxState.RUNNING)

    def reaches(self, provider: Provider, handle: str, state: BoxState) -> Observation:
        """Wait until a box is in that state."""
        seen = self.until(provider, handle, lambda s: s is not None and s.state == state)
        assert seen is not None
        return seen

    def gone(self, provider: Provider, handle: str) -> None:
        """Wait until the provider confirms that a box is over."""
        self.until(provider, handle, lambda s: s is None or (s.state.is_over and not s.billed))

    def found(self, provider: Provider, wanted: Callable[[list[Observation]], bool]) -> None:
        """Wait until `find` lists what is wanted: listings may lag."""
        deadline = time.monotonic() + 120
        while not wanted(listing := provider.find()):
            assert time.monotonic() < deadline, f"last listing: {listing}"
            self.advance()

    def login(self, request: Request, seen: Observation) -> Connection:
        """Log in over ssh the way devbox does, host key pinned."""
        now = time.time()
        box = Box(
            id=request.token,
            name=request.name,
            provider=self.name,
            token=request.token,
            state=seen.state,
            hardware=seen.hardware,
            price=self.make().offers()[0].price,
            created=now,
            updated=now,
            seen=now,
            handle=seen.handle,
            endpoint=seen.endpoint,
        )
        ssh_config.publish([box])
        return wait.for_login(
            box,
            log_in=wait.by_library,
            timeout=120,
            clock=time.monotonic,
            sleep=time.sleep,
            first_use=lambda _: None,
        )

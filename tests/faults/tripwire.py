"""Fault points for providers whose other side is no server: around calls in the process itself."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any, TypeVar

from devbox.errors import Unavailable
from devbox.providers.base import Provider
from devbox.providers.host import user_ssh
from tests.faults.points import ERRORS, KILL_AFTER, KILL_BEFORE, LIMITED, LOST, RETRY_AFTER, Point

T = TypeVar("T")
_METHODS = ("create", "observe", "find", "terminate", "pause", "resume")


class Tripwire:
    """Counts calls by route and strikes at one of them. `routes`: all calls so far."""

    def __init__(self, point: Point | None) -> None:
        self.point = point
        self.routes: list[str] = []
        self.reached = False
        self._errors = 0

    def around(self, route: str, action: Callable[[], T]) -> T:
        self.routes.append(route)
        point = self.point
        if point is None or route != point.route:
            return action()
        nth = self.routes.count(route)
        if not point.nth <= nth < point.nth + (3 if point.kind == ERRORS else 1):
            return action()
        self.reached = True
        if point.kind == KILL_BEFORE:
            os.kill(os.getpid(), signal.SIGKILL)
        if point.kind == LIMITED:
            raise Unavailable("emulated 429", retry_after=RETRY_AFTER)
        if point.kind == ERRORS:
            raise Unavailable("emulated 503")
        done = action()
        if point.kind == KILL_AFTER:
            os.kill(os.getpid(), signal.SIGKILL)
        if point.kind == LOST:
            raise Unavailable("the reply was lost")
        return done

    def on_provider(self, provider: Provider) -> None:
        """Around the contract's calls of one provider object."""
        for name in _METHODS:
            method = getattr(provider, name, None)
            if method is not None:
                setattr(provider, name, self._wrapped(name, method))

    def on_person(self) -> None:
        """Around everything that the ssh provider asks of a host."""
        ask = user_ssh.ask
        words = {"true": "look", "set -eu": "adopt", "set -u\n": "release", "nohup": "sleep"}

        def asked(target: str, script: str, **more: Any) -> Any:
            route = next(word for start, word in words.items() if script.startswith(start))
            return self.around(route, lambda: ask(target, script, **more))

        user_ssh.ask = asked

    def _wrapped(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            return self.around(name, lambda: method(*args))

        return call

"""The composition root a front end opens once: the merged spec, the store, the providers, the
clock and where narration goes. Everything below takes it as its first argument."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from devbox import spec
from devbox.model import Box
from devbox.providers import registry
from devbox.providers.base import Provider
from devbox.state.lookup import Here
from devbox.state.store import Store


def _silent(_: str) -> None:
    """Narration of a caller that wants none."""


def _unobserved(_: str, __: str) -> None:
    """Steps of a caller that does not watch them."""


class Workspace:
    """clock: () → unix seconds. sleep: waits that many seconds. narrate: one line for a person.
    on_step: (step, 'before' | 'after') of each journalled step."""

    def __init__(
        self,
        config: spec.Spec,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        narrate: Callable[[str], None] = _silent,
        on_step: Callable[[str, str], None] = _unobserved,
    ) -> None:
        self.spec = config
        self.clock = clock
        self.sleep = sleep
        self.narrate = narrate
        self.on_step = on_step
        #: whether `up` may put its Include into ~/.ssh/config
        self.integrate = True
        self._providers: dict[str, Provider] = {}

    @classmethod
    def open(cls, start: Path | None = None, narrate: Callable[[str], None] = _silent) -> Workspace:
        """From the nearest devbox.toml at or above `start` (default: the current folder)."""
        return cls(spec.load(spec.find((start or Path.cwd()).absolute())), narrate=narrate)

    @cached_property
    def store(self) -> Store:
        return Store.open()

    @cached_property
    def here(self) -> Here:
        """The project of the current folder, as boxes are looked up in it."""
        root = os.path.realpath(self.spec.root)
        return Here(root, self.spec.project, os.path.isfile(os.path.join(root, spec.FILE_NAME)))

    def provider(self, name: str) -> Provider:
        """The provider of that name, made once."""
        if name not in self._providers:
            provider = registry.load(name, self.spec.provider(name))
            provider.narrate = self._narrated
            self._providers[name] = provider
        return self._providers[name]

    def _narrated(self, line: str) -> None:
        """To whoever listens now: `narrate` may be replaced after a provider was made."""
        self.narrate(line)

    def box(self, name: str | None) -> Box:
        """The tracked box that NAME, PROJECT/NAME or FOLDER/NAME means in this folder; without a
        name the only live one of its project. NotFound for none, Conflict for another project's.
        """
        return self.store.boxes.pick(name, self.here)

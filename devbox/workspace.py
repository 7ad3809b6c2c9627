"""The composition root a front end opens once: the merged spec, the store, the providers, the
clock and where narration goes. Everything below takes it as its first argument."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

import msgspec

from devbox import secrets, spec
from devbox.errors import DevboxError, NotTrusted, UsageError
from devbox.model import Box, Connection
from devbox.providers import library_logs, registry
from devbox.providers.base import Provider
from devbox.state.lookup import Here
from devbox.state.store import Store
from devbox.text import clean


def _silent(_: str) -> None:
    """Narration of a caller that wants none."""


def _unobserved(*_: object) -> None:
    """Steps and stages of a caller that does not watch them."""


class Waited(Protocol):
    """A wait for a box that is under way."""

    @property
    def is_over(self) -> bool: ...

    def parts(self) -> tuple[str, str, str]:
        """What it waits for, for how long of how much, and what that costs so far."""


class Workspace:
    """providers: those that are not made from the spec's settings. clock: () → unix seconds. sleep:
    waits that many seconds. narrate: one line for a user. on_step: (step, 'before' | 'after') of
    each journalled step."""

    def __init__(
        self,
        config: spec.Spec,
        *,
        providers: Iterable[Provider] = (),
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
        #: the stages that a verb goes through, in order, as it begins
        self.on_plan: Callable[[Sequence[str]], None] = _unobserved
        #: a stage that begins; what a user follows, coarser than the steps
        self.on_stage: Callable[[str], None] = _unobserved
        #: (name of a box, line of its image's build, steps of that build where they are known and
        #: the log does not say so itself)
        self.on_build: Callable[[str, str, int | None], None] = self._narrate_build
        #: a wait that begins; None: each wait is narrated every `tell_every` seconds
        self.on_wait: Callable[[Waited], None] | None = None
        #: whether `up` may put its Include into ~/.ssh/config
        self.integrate = True
        #: asks the user whether to begin what costs more than they want unasked, and raises when
        #: they do not want it; nobody is asked where a front end sets nothing
        self.approve: Callable[[str], None] = _unobserved
        #: seconds that `up` waits for a box to start; None for what its spec says
        self.start_timeout: float | None = None
        #: seconds between lines that say that a wait is still going on
        self.tell_every = 15.0
        self._providers = {provider.name: self._told(provider) for provider in providers}
        self._resolved: dict[str, spec.ProviderSettings | None] = {}
        self._elsewhere: dict[tuple[str, spec.ProviderSettings], Provider] = {}
        self._projects: dict[str, spec.Spec] = {}

    @classmethod
    def open(cls, start: Path | None = None, narrate: Callable[[str], None] = _silent) -> Workspace:
        """From the nearest devbox.toml at or above `start` (default: the current folder)."""
        found = spec.load(spec.find((start or Path.cwd()).absolute()))
        for sentence in found.outdated:
            narrate(sentence)
        return cls(found, narrate=narrate)

    @cached_property
    def store(self) -> Store:
        return Store.open()

    @cached_property
    def here(self) -> Here:
        """The project of the current folder, as boxes are looked up in it."""
        root = os.path.realpath(self.spec.root)
        inside = os.path.isfile(os.path.join(root, spec.FILE_NAME))
        return Here(root, self.spec.project, inside, tuple(self.spec.boxes))

    def close(self) -> None:
        """Close the store; the next use opens it again."""
        opened = self.__dict__.pop("store", None)
        if opened is not None:
            opened.close()

    def provider(self, name: str) -> Provider:
        """The provider of that name by this folder's settings, made once: for new boxes and for
        listings. A box that is known lives where it was made: `provider_of`."""
        if name not in self._providers:
            self._providers[name] = self._load(name, self.spec.provider(name))
        return self._providers[name]

    def provider_of(self, box: Box) -> Provider:
        """The provider of a known box, by the settings the box was made with, made once. A box of
        an older version has none and takes this folder's."""
        key = box.provider, self.settings_of(box)
        if box.connection is None or key[1] == self._settings_here(box.provider):
            return self.provider(box.provider)
        if key not in self._elsewhere:
            self._elsewhere[key] = self._load(*key)
        return self._elsewhere[key]

    def settings_of(self, box: Box) -> spec.ProviderSettings:
        """The provider settings of a known box: those it was made with."""
        if box.connection is None:
            return self.spec.provider(box.provider)
        kind = spec.settings_type(box.provider)
        made = spec.lenient(box.connection.settings, kind)[0] or kind()
        if not self.here.has(box):
            return made
        try:
            here = self.spec.provider(box.provider)
        except NotTrusted:
            return made  # why: a known box does not need what its project's file says now
        # What is reckoned with and what pauses a box may be changed in its own project.
        live = {key: getattr(here, key) for key in _LIVE if key in kind.__struct_fields__}
        return msgspec.structs.replace(made, **live)

    def connection(self, name: str) -> Connection:
        """Where a new box of that provider is made, before anybody there was asked who it is."""
        found = registry.resolved(name, self.spec.provider(name))
        settings = {key: value for key, value in msgspec.structs.asdict(found).items() if value}
        if reference := settings.get("pause_token"):
            secrets.check(reference)
        return Connection(settings)

    def _settings_here(self, name: str) -> spec.ProviderSettings | None:
        """This folder's settings; None when they lead nowhere."""
        if name not in self._resolved:
            try:
                self._resolved[name] = registry.resolved(name, self.spec.provider(name))
            except DevboxError:
                self._resolved[name] = None  # why: a known box does not need this folder's settings
        return self._resolved[name]

    def _load(self, name: str, config: spec.ProviderSettings) -> Provider:
        library_logs.tell(self._narrated)
        return self._told(registry.load(name, config))

    def _told(self, provider: Provider) -> Provider:
        provider.narrate = self._narrated
        provider.tell_build = self._built
        return provider

    def _narrated(self, line: str) -> None:
        """To whoever listens now: `narrate` may be replaced after a provider was made."""
        self.narrate(line)

    def _built(self, name: str, line: str) -> None:
        self.on_build(name, line, None)

    def _narrate_build(self, name: str, line: str, _: int | None) -> None:
        self.narrate(f"{name} | {line}")

    def project_of(self, box: Box) -> spec.Spec:
        """The project a box belongs to, as its devbox.toml is now, whatever folder this is typed
        in. UsageError when nothing says which folder that is; SpecError when it cannot be read.
        """
        if self.here.has(box):
            return self.spec
        if not box.root:
            raise UsageError(
                f"box {box.name} belongs to project {clean(box.project, 60) or 'none'}, whose "
                f"folder is not known here ({clean(str(self.spec.root), 200)})",
                means="nothing was done",
                fix="go to that project's folder and type it there",
            )
        if box.root not in self._projects:
            self._projects[box.root] = spec.load(Path(box.root) / spec.FILE_NAME)
        return self._projects[box.root]

    def box(self, name: str | None) -> Box:
        """The tracked box that NAME, PROJECT/NAME or FOLDER/NAME means in this folder; without a
        name the only live one of its project. NotFound for none, Conflict for another project's.
        """
        return self.store.boxes.pick(name, self.here)


#: settings of a known box that its own project may change
_LIVE = ("price", "pause_token")

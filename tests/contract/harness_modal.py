"""Modal under the contract suite: the real client, an emulated workspace, real sandboxes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from devbox.providers import registry
from devbox.providers.base import Provider
from devbox.spec import ModalSettings
from tests.contract.harness import Harness
from tests.emulators.common import Fault
from tests.emulators.modal import ModalEmulator, Stages

_CHANGES = ("SandboxCreate", "SandboxTerminate", "SandboxTagsSet", "ImageGetOrCreate")


class ModalHarness(Harness):
    name = "modal"
    able: ClassVar[frozenset[str]] = frozenset(
        {"pause", "login", "watchdog", "guarded", "ceiling", "fault:auth", "fault:unavailable"}
    )
    hardware = "T4"
    unknown = "sb-" + "0" * 22

    def __init__(self, home: Path, **options: Any) -> None:
        """options: of the emulator."""
        super().__init__(home)
        stages = Stages(image_build=0.05, scheduling=0.05, stopping=0.05, snapshot=0.05)
        self.emulator = ModalEmulator(**{"stages": stages, **options}).__enter__()
        self._before = {key: os.environ.get(key) for key in self.emulator.env()}
        os.environ.update(self.emulator.env())

    def make(self) -> Provider:
        return registry.load("modal", ModalSettings())

    def live(self) -> int:
        return len(self.emulator.meter.billing())

    def close(self) -> None:
        self.emulator.__exit__(None, None, None)
        for key, value in self._before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value
        assert self.emulator.unexpected == []

    @contextmanager
    def fault(self, kind: str) -> Iterator[None]:
        made = {"auth": Fault.unauthorized(), "unavailable": Fault.server_error()}[kind]
        for call in _CHANGES:
            self.emulator.knobs.set(call, made, times=None)
        yield
        self.emulator.knobs.clear()


HARNESS = ModalHarness

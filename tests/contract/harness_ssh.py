"""Hosts the user has, under the contract suite: every box is adopted on a machine of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from devbox.providers import registry
from devbox.providers.base import Provider, Request
from devbox.spec import SshSettings
from tests.contract.harness import Harness
from tests.providers.host.machine import Machine
from tests.remote.sshd import close_masters


class SshHarness(Harness):
    name = "ssh"
    able: ClassVar[frozenset[str]] = frozenset({"login", "fault:auth", "fault:unavailable"})
    hardware = "host"

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.machines: dict[str, Machine] = {}

    def make(self) -> Provider:
        return registry.load("ssh", SshSettings(price=1.5))

    def live(self) -> int:
        return sum(len(machine.ours) for machine in self.machines.values())

    def request(self, name: str = "b", *, token: str | None = None, **spec: Any) -> Request:
        if name not in self.machines:
            self.machines[name] = Machine(self.home, name)
        return super().request(name, token=token, **{"host": name, **spec})

    def close(self) -> None:
        close_masters()
        for machine in self.machines.values():
            machine.close()

    @contextmanager
    def fault(self, kind: str) -> Iterator[None]:
        """The user's key is taken back, or the machine is off."""
        machine = self.machines.get("b") or Machine(self.home, "b")
        self.machines["b"] = machine
        kept = machine.admitted
        if kind == "auth":
            machine.admit()
        else:
            machine.off()
        yield
        if kind == "auth":
            machine.admit(*kept)
        else:
            machine.on()


HARNESS = SshHarness

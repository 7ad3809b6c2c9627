"""The docker provider under the contract suite: a real engine, behind a proxy that can fail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from devbox.providers import registry
from devbox.providers.base import Provider
from devbox.spec import DockerSettings
from tests.contract.harness import Harness
from tests.emulators.common import Fault
from tests.emulators.docker_proxy import DockerProxy
from tests.providers.docker import world

_CHANGES = ("create_container", "start_container", "stop_container", "remove_container")


class DockerHarness(Harness):
    name = "docker"
    able: ClassVar[frozenset[str]] = frozenset(
        {"pause", "login", "watchdog", "guarded", "ceiling", "fault:auth", "fault:unavailable"}
    )
    spec: ClassVar[dict[str, Any]] = {"image": world.IMAGE}
    unknown = "0123456789abcdef" * 4

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.space = world.Space()
        self.proxy = DockerProxy(world.engine()).__enter__()

    def make(self) -> Provider:
        return registry.load(
            "docker",
            DockerSettings(
                docker_host=self.proxy.address, namespace=self.space.namespace, price=1.5
            ),
        )

    def live(self) -> int:
        return len(self.space.containers(every=False))

    def close(self) -> None:
        self.proxy.__exit__(None, None, None)
        self.space.close()

    @contextmanager
    def fault(self, kind: str) -> Iterator[None]:
        made = {"auth": Fault.unauthorized(), "unavailable": Fault.server_error()}[kind]
        for route in _CHANGES:
            self.proxy.knobs.set(route, made, times=None)
        yield
        self.proxy.knobs.clear()


HARNESS = DockerHarness

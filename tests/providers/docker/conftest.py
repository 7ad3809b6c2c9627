"""The docker provider on a real engine, in a name space of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devbox import lifecycle, spec
from devbox.providers.docker.provider import Docker
from devbox.workspace import Workspace
from tests.contract.harness_docker import DockerHarness
from tests.providers.docker import world

Open = Callable[..., Workspace]


@pytest.fixture
def harness(home: Path) -> Iterator[DockerHarness]:
    made = DockerHarness(home)
    yield made
    made.close()


@pytest.fixture
def space(harness: DockerHarness) -> world.Space:
    return harness.space


@pytest.fixture
def said() -> list[str]:
    """What was narrated."""
    return []


@pytest.fixture
def provider(harness: DockerHarness, said: list[str]) -> Docker:
    made = harness.make()
    assert isinstance(made, Docker)
    made.narrate = said.append
    made.tell_build = lambda _, line: said.append(line)
    return made


@pytest.fixture
def project(harness: DockerHarness, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Opens a workspace in HOME/project whose box b is a container."""
    opened: list[Workspace] = []

    def open_(settings: str = "", host: str = "") -> Workspace:
        folder = home / "project"
        folder.mkdir(exist_ok=True)
        (folder / "devbox.toml").write_text(
            f'[boxes.b]\nprovider = "docker"\nimage = "{world.IMAGE}"\n{settings}\n'
            f'[providers.docker]\ndocker_host = "{host or harness.proxy.address}"\n'
            f'namespace = "{harness.space.namespace}"\nprice = 1.5\n'
        )
        spec.trust_file(folder / "devbox.toml")
        monkeypatch.chdir(folder)
        opened.append(Workspace.open())
        return opened[-1]

    yield open_
    harness.proxy.knobs.clear()
    for ws in opened:
        for box in ws.store.boxes.all():
            lifecycle.down(ws, box, save=False)

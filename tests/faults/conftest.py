"""Emulated providers and workspaces in their time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devbox import spec
from devbox.workspace import Workspace
from tests.faults.server import PROVIDERS
from tests.faults.worlds import WORLDS, World

MakeWorld = Callable[[str], World]


@pytest.fixture
def make_world(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeWorld]:
    """make_world("modal") → an emulator that runs, its environment set."""
    made: list[World] = []

    def make(name: str) -> World:
        world = next(each for each in WORLDS if each.name == name)(home)
        made.append(world)
        for key, value in world.env().items():
            monkeypatch.setenv(key, value)
        return world

    yield make
    for world in made:
        world.close()
        assert world.unexpected() == []


def workspace(world: World) -> Workspace:
    """The world's project in the world's time, where waiting makes that time pass."""

    def sleep(seconds: float) -> None:
        world.advance(seconds)
        time.sleep(0.002)  # what the jump has started needs a moment of its own

    ws = Workspace(spec.load(world.project / "devbox.toml"), clock=world.clock.now, sleep=sleep)
    ws._providers[world.name] = PROVIDERS[world.name](
        ws.spec.provider(world.name), clock=world.clock.now
    )
    return ws

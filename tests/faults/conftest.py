"""Emulated providers and workspaces in their time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.held import workspace
from tests.faults.world import World
from tests.faults.worlds import WORLDS

__all__ = ["MakeWorld", "workspace"]

MakeWorld = Callable[[str], World]


@pytest.fixture
def make_world(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeWorld]:
    """make_world("modal") → an emulator that runs, its environment set."""
    made: list[World] = []

    def make(name: str) -> World:
        world = next(each for each in WORLDS if each.label() == name)(home)
        made.append(world)
        for key, value in world.env().items():
            monkeypatch.setenv(key, value)
        return world

    yield make
    for world in made:
        world.close()
        assert world.unexpected() == []

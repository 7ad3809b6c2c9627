"""An emulated Hub whose time a test moves and on which nothing really runs, and a project there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from devbox import spec
from devbox.model import Box
from devbox.providers.base import Provider
from devbox.providers.hf.job import HfJob
from devbox.providers.hf.space import HfSpace
from devbox.spec import HfSettings
from devbox.state.costs import run_cost
from devbox.workspace import Workspace
from tests.emulators.common import Clock
from tests.emulators.hf import HfEmulator, Times

PROVIDERS: dict[str, Callable[..., Provider]] = {"hf-job": HfJob, "hf-space": HfSpace}


@pytest.fixture
def hub(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HfEmulator]:
    times = Times(build=0.1, start=0.1, schedule=0.1)
    with HfEmulator(clock=Clock.manual(), times=times, state_dir=home / "hub") as hub:
        hub.hub.hollow = True
        for key, value in hub.env().items():
            monkeypatch.setenv(key, value)
        yield hub
    assert hub.unexpected == []


@pytest.fixture
def ws(hub: HfEmulator, home: Path) -> Iterator[Workspace]:
    with project(hub, home, "hf-job", "t4-small") as ws:
        yield ws


@contextmanager
def project(hub: HfEmulator, home: Path, provider: str, hardware: str) -> Iterator[Workspace]:
    """Of one box, `b`. A wait moves the Hub's time."""
    folder = home / "project"
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM python:3.12-bookworm\nCMD sleep infinity\n")
    (folder / "README.md").write_text("---\nsdk: docker\n---\n")
    box = f'[boxes.b]\nprovider = "{provider}"\nhardware = "{hardware}"\n'
    (folder / "devbox.toml").write_text(box)

    def sleep(seconds: float) -> None:
        hub.clock.advance(seconds)

    ws = Workspace(
        spec.load(folder / "devbox.toml"),
        providers=[PROVIDERS[provider](HfSettings(), clock=hub.clock.now)],
        clock=hub.clock.now,
        sleep=sleep,
    )
    yield ws
    ws.store.close()


def spent(ws: Workspace, hub: HfEmulator) -> int:
    """Micro-dollars in the ledger of all rows."""
    boxes = ws.store.boxes.all(over=True)
    found = [each for box in boxes for each in ws.store.ledger.of_box(box.id)]
    return run_cost(found, 0, hub.clock.now()) or 0


def billed(hub: HfEmulator) -> int:
    return hub.meter.grand_total(hub.clock.now())


def only(ws: Workspace) -> Box:
    rows = ws.store.boxes.all(over=True)
    (box,) = [box for box in rows if not box.message.startswith("a second one")]
    return box

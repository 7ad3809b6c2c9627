"""The Modal provider on an emulated workspace, by itself and through a project's Workspace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devbox import lifecycle
from devbox.providers.modal.provider import Modal
from devbox.spec import ModalSettings
from devbox.workspace import Workspace
from tests.contract.harness_modal import ModalHarness
from tests.emulators.modal import ModalEmulator

TOML = '[boxes.b]\nprovider = "modal"\nhardware = "T4"\n'


@pytest.fixture
def harness(home: Path) -> Iterator[ModalHarness]:
    made = ModalHarness(home)
    yield made
    made.close()


@pytest.fixture
def emulator(harness: ModalHarness) -> ModalEmulator:
    return harness.emulator


@pytest.fixture
def said() -> list[str]:
    """What was narrated."""
    return []


@pytest.fixture
def provider(harness: ModalHarness, said: list[str]) -> Modal:
    made = Modal(ModalSettings())
    made.narrate = said.append
    made.tell_build = lambda _, line: said.append(line)
    return made


@pytest.fixture
def project(
    harness: ModalHarness, home: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], Workspace]]:
    """Opens a workspace in HOME/project with that devbox.toml."""
    opened: list[Workspace] = []

    def open_(toml: str = TOML) -> Workspace:
        folder = home / "project"
        folder.mkdir(exist_ok=True)
        (folder / "devbox.toml").write_text(toml)
        monkeypatch.chdir(folder)
        opened.append(Workspace.open())
        return opened[-1]

    yield open_
    harness.emulator.knobs.clear()
    for ws in opened:
        for box in ws.store.boxes.all():
            lifecycle.down(ws, box, save=False)

"""A Space is counted by the hardware that it ran on, whoever asked for another and whenever."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi, SpaceHardware

from devbox import lifecycle, spec
from devbox.model import Box
from devbox.providers.hf.space import HfSpace
from devbox.spec import HfSettings
from devbox.state.costs import run_cost
from devbox.workspace import Workspace
from tests.emulators.common import Clock, Fault
from tests.emulators.hf import HfEmulator, Times

HANDLE = "me/devbox-b"


@pytest.fixture
def hub(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HfEmulator]:
    """A Hub whose time the tests move, and on which nothing really runs."""
    times = Times(build=0.1, start=0.1, schedule=0.1)
    with HfEmulator(clock=Clock.manual(), times=times, state_dir=home / "hub") as hub:
        hub.hub.hollow = True
        for key, value in hub.env().items():
            monkeypatch.setenv(key, value)
        yield hub
    assert hub.unexpected == []


@pytest.fixture
def ws(hub: HfEmulator, home: Path) -> Iterator[Workspace]:
    folder = home / "project"
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM python:3.12-bookworm\nCMD sleep infinity\n")
    (folder / "README.md").write_text("---\nsdk: docker\n---\n")
    (folder / "devbox.toml").write_text('[boxes.b]\nprovider = "hf-space"\nhardware = "l4x1"\n')
    made = HfSpace(HfSettings(), clock=hub.clock.now)
    workspace = Workspace(
        spec.load(folder / "devbox.toml"),
        providers=[made],
        clock=hub.clock.now,
        sleep=lambda seconds: (hub.clock.advance(seconds), None)[1],
    )
    yield workspace
    workspace.store.close()


def look(ws: Workspace) -> Box:
    (box,) = ws.store.boxes.all()
    return lifecycle.observe_now(ws, box)


def agrees(ws: Workspace, hub: HfEmulator, within: float = 0.0) -> None:
    """The ledger is the Hub's meter, but for so many seconds at the dearest rate."""
    found, now = ws.store.ledger.of_box(look(ws).id), hub.clock.now()
    theirs = hub.meter.total(HANDLE, now)
    assert abs((run_cost(found, 0, now) or 0) - theirs) <= 1 + within * 2_500_020 / 3600
    assert theirs > 0


@pytest.mark.parametrize("stopped", [True, False])
@pytest.mark.parametrize("fault", [Fault.server_error(), Fault.reply_lost()])
def test_free_hardware_costs_nothing_until_the_move(
    ws: Workspace, hub: HfEmulator, stopped: bool, fault: Fault
) -> None:
    """The computer slept for hours between two tries of the last call of a create."""
    hub.knobs.set("request_hardware", fault)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        hub.clock.advance(seconds)
        if not slept:
            slept.append(seconds)
            hub.clock.advance(900)
            if stopped:
                hub.pause_space(HANDLE)
            hub.clock.advance(7200)

    ws.sleep = sleep
    lifecycle.up(ws, "b", wait=False)
    look(ws)
    hub.clock.advance(600)
    lifecycle.up(ws, "b", wait=False)
    hub.clock.advance(1800)
    agrees(ws, hub)


def test_hardware_changed_on_its_page_counts_from_then(ws: Workspace, hub: HfEmulator) -> None:
    lifecycle.up(ws, "b", wait=False)
    hub.clock.advance(1800)
    look(ws)
    api = HfApi(hub.endpoint, token="hf_emulated")
    for flavour in ("a100-large", "cpu-basic", "t4-small"):
        hub.clock.advance(3600)
        api.request_space_hardware(HANDLE, SpaceHardware(flavour))
        hub.clock.advance(7200)
        assert look(ws).hardware == flavour
    agrees(ws, hub, within=60)

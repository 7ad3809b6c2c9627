"""A Space is counted by the hardware that it ran on, whoever asked for another and whenever."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi, SpaceHardware

from devbox import lifecycle
from devbox.model import Box
from devbox.state.costs import run_cost
from devbox.workspace import Workspace
from tests.emulators.common import Fault
from tests.emulators.hf import HfEmulator
from tests.providers.hf.still.conftest import project

HANDLE = "me/devbox-b"


@pytest.fixture
def ws(hub: HfEmulator, home: Path) -> Iterator[Workspace]:
    with project(hub, home, "hf-space", "l4x1") as ws:
        yield ws


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


def test_a_start_that_was_over_before_its_next_try_is_counted(
    ws: Workspace, hub: HfEmulator
) -> None:
    """The answer to a resume was lost, and the computer slept before it tried again."""
    lifecycle.up(ws, "b", wait=False)
    hub.clock.advance(600)
    look(ws)
    hub.pause_space(HANDLE)
    look(ws)
    hub.knobs.set("restart", Fault.reply_lost())
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        hub.clock.advance(seconds)
        if not slept:
            slept.append(seconds)
            hub.clock.advance(1800)
            hub.pause_space(HANDLE)
            hub.clock.advance(3600)

    ws.sleep = sleep
    lifecycle.up(ws, "b", wait=False)
    hub.clock.advance(600)
    agrees(ws, hub, within=60)
    assert len(ws.store.ledger.of_box(look(ws).id)) == 3


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

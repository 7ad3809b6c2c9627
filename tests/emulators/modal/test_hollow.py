"""Sandboxes in which nothing runs: their life, bill and images are those of the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import modal
import pytest

from tests.emulators.common import Clock
from tests.emulators.modal import ModalEmulator, Stages
from tests.emulators.modal.conftest import Workspace

STAGES = Stages(image_build=0.0, scheduling=0.3, stopping=0.3, snapshot=0.0, queue=60.0)
Connect = Callable[[ModalEmulator], modal.Client]


@pytest.fixture
def hollow() -> Iterator[ModalEmulator]:
    with ModalEmulator(clock=Clock.manual(), stages=STAGES, hollow=True) as emulator:
        yield emulator
    assert emulator.unexpected == []


def asked_for(emulator: ModalEmulator, client: modal.Client, **options: Any) -> Any:
    """A sandbox of the emulator's, in the queue. The client's own `create` would wait there."""
    workspace = Workspace(client)
    known = set(emulator.sandboxes)
    emulator.on_call = lambda rpc, phase: _in_time(emulator, rpc, phase)
    workspace.create(**options)
    emulator.on_call = None
    (made,) = set(emulator.sandboxes) - known
    return emulator.sandboxes[made]


def _in_time(emulator: ModalEmulator, rpc: str, phase: str) -> None:
    if (rpc, phase) == ("SandboxGetTaskId", "before"):
        emulator.clock.advance(0.3)


def test_a_life_that_its_main_process_ends(hollow: ModalEmulator, connect: Connect) -> None:
    booted: list[str] = []
    hollow.world.on_boot = booted.append
    sandbox = asked_for(hollow, connect(hollow), timeout=3600)
    assert booted == [sandbox.id]
    assert sandbox.machine.processes() == []
    hollow.advance(100)
    hollow.leave(sandbox, 3)
    assert (sandbox.state, sandbox.result.exitcode) == ("finished", 3)
    (billed,) = hollow.meter.intervals(sandbox.id)
    assert billed.end is not None
    assert billed.end - billed.start == pytest.approx(100)


def test_a_timeout_ends_it(hollow: ModalEmulator, connect: Connect) -> None:
    sandbox = asked_for(hollow, connect(hollow), timeout=60)
    hollow.advance(61)
    hollow.settle()
    assert sandbox.state == "finished"
    assert hollow.meter.billing() == []
    (billed,) = hollow.meter.intervals(sandbox.id)
    assert billed.end is not None
    assert billed.end - billed.start == pytest.approx(60)


def test_commands_succeed_and_snapshots_tell_whose_they_are(
    hollow: ModalEmulator, connect: Connect
) -> None:
    client = connect(hollow)
    sandbox = asked_for(hollow, client)
    handle = modal.Sandbox.from_id(sandbox.id, client=client)
    assert handle.exec("anything").wait() == 0
    snapshot = handle.snapshot_filesystem().object_id
    image = hollow.images[snapshot]
    assert image.layers == (*sandbox.machine.snapshots, *sandbox.machine.layers)


def test_a_full_gpu_is_tried_again(hollow: ModalEmulator, connect: Connect) -> None:
    client = connect(hollow)
    hollow.full.add("T4")
    known = set(hollow.sandboxes)
    workspace = Workspace(client)
    hollow.on_call = lambda rpc, phase: _freed(hollow, rpc, phase)
    workspace.create()
    hollow.on_call = None
    (made,) = set(hollow.sandboxes) - known
    sandbox = hollow.sandboxes[made]
    assert sandbox.started_at is not None
    assert sandbox.started_at - sandbox.created_at == pytest.approx(60.3)


def _freed(emulator: ModalEmulator, rpc: str, phase: str) -> None:
    """At the second look a machine is free."""
    if (rpc, phase) == ("SandboxGetTaskId", "before"):
        emulator.clock.advance(0.3 if "T4" in emulator.full else 60)
        emulator.full.clear()


def test_a_price_is_that_of_the_begin(hollow: ModalEmulator, connect: Connect) -> None:
    client = connect(hollow)
    before = asked_for(hollow, client)
    hollow.reprice("T4", 1.0)
    after = asked_for(hollow, client)
    rates = [hollow.meter.intervals(each.id)[0].rate for each in (before, after)]
    assert rates[1] - rates[0] == pytest.approx(1e6 / 3600 - 164.0)
    rated = modal.Workspace.from_context(client=client).billing.rates()
    assert float(rated["gpu_hour_cost_t4"]) == pytest.approx(1.0)

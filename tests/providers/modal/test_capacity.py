"""A paused box whose GPU is not free resumes on the next of its choices, with its files, when its
user agrees; and refusals for want of a GPU are told from other faults."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from devbox import lifecycle
from devbox.errors import NoCapacity, Unavailable, UsageError
from devbox.model import BoxState
from devbox.providers.modal.provider import Modal
from devbox.remote import command
from devbox.workspace import Workspace
from tests.contract.harness_modal import ModalHarness
from tests.emulators.common import Fault
from tests.emulators.modal import ModalEmulator

LISTED = """
[boxes.b]
providers = ["modal", "hf-job"]
capacity_timeout = "0.3s"
on.modal.hardware = ["L4", "T4"]
on.hf-job.hardware = "l4x1"
"""
Open = Callable[..., Workspace]


def test_a_resume_on_the_next_choice_asks_and_keeps_the_files(
    project: Open, emulator: ModalEmulator
) -> None:
    ws = project(LISTED)
    box = lifecycle.up(ws, "b")
    assert box.hardware == "L4"
    keep = command.argv(box, ["sh", "-c", "echo precious >work/kept.txt"])
    subprocess.run(keep, check=True, timeout=60)
    box = lifecycle.pause(ws, box, save=False)
    emulator.full.add("L4")
    said: list[str] = []
    asked: list[str] = []
    ws.narrate = said.append

    def decline(question: str) -> None:
        asked.append(question)
        raise UsageError("there is no terminal to ask at", fix="devbox resume b --yes")

    ws.approve = decline
    with pytest.raises(NoCapacity) as caught:
        lifecycle.resume(ws, box)
    assert caught.value.fix == "devbox resume b --yes"
    assert asked[0].startswith("Resume b on T4 at $")
    assert "b: on T4 it has what the pause kept: its files, in a snapshot, for 30 days" in said
    box = ws.box("b")
    assert (box.state, box.hardware) == (BoxState.PAUSED, "L4")
    assert [each.state for each in emulator.sandboxes.values()] == ["finished", "finished"]

    emulator.full.add("T4")
    ws.approve = asked.append
    with pytest.raises(NoCapacity) as caught:
        lifecycle.resume(ws, box)
    assert "at hf-job it would be a new box" in caught.value.means
    assert "devbox down b && devbox up b --provider hf-job" in caught.value.fix
    box = ws.box("b")
    assert (box.state, box.hardware) == (BoxState.PAUSED, "L4"), "the first is tried first again"

    emulator.full.discard("T4")
    box = lifecycle.resume(ws, box)
    assert (box.state, box.hardware) == (BoxState.RUNNING, "T4")
    read = command.argv(box, ["cat", "work/kept.txt"])
    done = subprocess.run(read, check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout == "precious\n"
    assert len(emulator.meter.billing()) == 1
    assert ws.store.boxes.open_intents() == []


def test_want_of_a_gpu_is_told_from_a_rate_limit(
    harness: ModalHarness, provider: Modal, emulator: ModalEmulator
) -> None:
    emulator.knobs.set("SandboxCreate", Fault.error(429, "Insufficient capacity for H100"))
    with pytest.raises(NoCapacity) as caught:
        provider.create(harness.request())
    assert caught.value.no_effect
    emulator.knobs.set("SandboxCreate", Fault.error(429, "Rate limit exceeded"))
    with pytest.raises(Unavailable) as passing:
        provider.create(harness.request())
    assert not isinstance(passing.value, NoCapacity)

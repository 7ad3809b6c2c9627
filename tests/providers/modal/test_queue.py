"""A sandbox that waits for a machine while nobody waits for it must not start and cost later."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

import pytest

from devbox import lifecycle
from devbox.errors import TimedOut
from devbox.model import BoxState
from devbox.providers.modal.launch import LATE
from devbox.providers.modal.provider import Modal
from devbox.remote import command
from devbox.spec import ModalSettings, Seconds
from devbox.workspace import Workspace
from tests.contract.harness_modal import ModalHarness
from tests.emulators.modal import ModalEmulator, Stages

Open = Callable[..., Workspace]
QUEUED = Stages(image_build=0.05, scheduling=36000.0, stopping=0.05, snapshot=0.05)


def interrupted(after: int) -> Callable[[float], None]:
    """A sleep that is cut off by Ctrl-C at its n-th call."""
    left = [after]

    def sleep(seconds: float) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        time.sleep(min(seconds, 0.05))

    return sleep


def waiting(emulator: ModalEmulator) -> list[str]:
    """Sandboxes that may still start."""
    return [each.id for each in emulator.sandboxes.values() if each.state == "pending"]


def test_ctrl_c_takes_a_queued_sandbox_back(project: Open, emulator: ModalEmulator) -> None:
    emulator.world.stages = QUEUED
    ws = project()
    ws.sleep = interrupted(3)
    with pytest.raises(KeyboardInterrupt):
        lifecycle.up(ws, "b")
    assert waiting(emulator) == []
    assert ws.box("b").state is BoxState.PAUSED
    assert ws.store.boxes.open_intents() == []
    emulator.world.stages = Stages(image_build=0.05, scheduling=0.05, stopping=0.05, snapshot=0.05)
    assert lifecycle.up(ws, "b").state is BoxState.RUNNING


def test_a_start_that_takes_too_long_is_taken_back_and_says_what_to_do(
    project: Open, emulator: ModalEmulator
) -> None:
    emulator.world.stages = QUEUED
    ws = project()
    ws.start_timeout = 0.2
    with pytest.raises(TimedOut) as caught:
        lifecycle.up(ws, "b")
    assert waiting(emulator) == []
    assert "taken back from the queue" in caught.value.means
    assert "costs nothing" in caught.value.means
    assert "--timeout" in caught.value.fix
    assert "devbox down b" in caught.value.fix


def test_a_resume_that_is_taken_back_keeps_the_files(
    project: Open, emulator: ModalEmulator
) -> None:
    ws = project()
    quick = emulator.world.stages
    box = lifecycle.up(ws, "b")
    keep = command.argv(box, ["sh", "-c", "echo precious >work/kept.txt"])
    subprocess.run(keep, check=True, timeout=60)
    box = lifecycle.pause(ws, box, save=False)
    emulator.world.stages = QUEUED
    ws.sleep = interrupted(3)
    with pytest.raises(KeyboardInterrupt):
        lifecycle.resume(ws, box)
    assert waiting(emulator) == []
    emulator.world.stages = quick
    ws.sleep = time.sleep
    box = lifecycle.resume(ws, ws.box("b"))
    read = command.argv(box, ["cat", "work/kept.txt"])
    done = subprocess.run(read, check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout == "precious\n"


def test_a_queued_sandbox_that_modal_ends_keeps_what_it_was_to_start_from(
    harness: ModalHarness, provider: Modal, emulator: ModalEmulator
) -> None:
    request = harness.request()
    handle = provider.create(request)
    harness.running(provider, handle)
    paused = provider.pause(handle)
    harness.reaches(provider, paused, BoxState.PAUSED)
    emulator.world.stages = QUEUED
    new = provider.resume(request, paused)
    emulator.end(emulator.sandboxes[new], 3)
    seen = harness.reaches(provider, new, BoxState.PAUSED)
    assert seen.handle.endswith(paused.partition(":")[2])


def test_a_machine_that_comes_too_late_is_given_up_at_once(
    harness: ModalHarness, emulator: ModalEmulator
) -> None:
    """The computer that asked is gone (a crash, --no-wait): the sandbox ends itself."""
    said: list[str] = []
    asked = time.time() - LATE - 60
    provider = Modal(ModalSettings(), clock=lambda: asked)
    provider.narrate = said.append
    handle = provider.create(harness.request(start_timeout=Seconds(30)))
    assert any("15m30s, it ends itself at once" in line for line in said)
    here = Modal(ModalSettings())
    seen = harness.until(here, handle, lambda s: s is None or s.state in ("paused", "terminated"))
    assert seen is not None
    assert "only after nobody waited for it" in seen.message
    assert emulator.meter.billing() == []
    (interval,) = emulator.meter.intervals()
    assert (interval.end or 0.0) - interval.start < 5

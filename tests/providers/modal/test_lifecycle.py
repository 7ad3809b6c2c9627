"""up → ssh → pause → resume → down on Modal, as a user does it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from devbox import lifecycle
from devbox.lifecycle import asking
from devbox.lifecycle.operation import working_on
from devbox.model import Box, BoxState
from devbox.providers.abilities import CanPause
from devbox.providers.modal import image, launch, provider
from devbox.remote import command
from devbox.workspace import Workspace
from tests import warm
from tests.contract.harness_modal import ModalHarness
from tests.emulators.modal import ModalEmulator
from tests.emulators.modal.conftest import until

Open = Callable[..., Workspace]


def ssh(box: Box, *words: str) -> str:
    done = subprocess.run(
        command.argv(box, words), check=True, capture_output=True, text=True, timeout=60
    )
    return done.stdout.strip()


def test_a_life_that_nobody_saw_is_counted(project: Open, emulator: ModalEmulator) -> None:
    """A resume that was never answered: its sandbox ended before the next one was asked for."""
    ws = project()
    box = lifecycle.pause(ws, lifecycle.up(ws, "b"), save=False)
    ws.store.boxes.begin(box.id, "running", {}, ws.clock())
    with working_on(ws, box) as op:
        assert isinstance(op.provider, CanPause)
        op.provider.resume(asking.request(op), box.handle)
        op.amend(unanswered=ws.clock(), unanswered_tries=1)
    unseen = list(emulator.sandboxes.values())[-1]
    until(lambda: unseen.scheduled)
    emulator.end(unseen, 4)
    until(lambda: unseen.state == "finished")
    box = lifecycle.resume(ws, ws.box("b"))
    assert len(emulator.meter.intervals()) == 3
    lifecycle.account_unanswered(ws)
    lifecycle.account_unanswered(ws)
    passed = [0.0]  # while it waits for what may still appear
    ws.clock = lambda: time.time() + sum(passed)
    ws.sleep = passed.append
    lifecycle.down(ws, box, save=False)
    assert sum(passed) > 60
    ours = ws.store.ledger.of_box(box.id)
    theirs = emulator.meter.intervals()
    assert [each.start for each in ours] == pytest.approx([each.start for each in theirs], abs=0.01)
    assert [each.end for each in ours] == pytest.approx([each.end for each in theirs], abs=0.01)


def test_the_whole_life_of_a_box(project: Open, emulator: ModalEmulator) -> None:
    ws = project()
    said: list[str] = []
    ws.narrate = said.append
    box = lifecycle.up(ws, "b")
    assert box.state is BoxState.RUNNING
    assert ssh(box, "pwd") == "/root"
    ssh(box, "sh", "-c", "echo precious >work/kept.txt")
    assert lifecycle.idle_status(ws, box) is not None
    assert any("files" in line and "devbox pause" in line for line in said)

    box = lifecycle.pause(ws, box)
    assert box.state is BoxState.PAUSED
    assert "files are kept until" in box.message
    assert "processes are gone" in box.message
    assert emulator.meter.billing() == []
    assert ws.store.ledger.current(box.id) is None

    box = lifecycle.resume(ws, box)
    assert box.state is BoxState.RUNNING
    assert ssh(box, "cat", "work/kept.txt") == "precious"
    assert len(emulator.meter.billing()) == 1

    box = lifecycle.down(ws, box)
    assert box.state is BoxState.TERMINATED
    assert emulator.meter.billing() == []
    assert ws.provider("modal").find() == []

    intervals = ws.store.ledger.of_box(box.id)
    assert len(intervals) == 2
    ours = sum(((i.end or 0) - i.start) * (i.price.micro_per_hour or 0) / 3600 for i in intervals)
    assert ours == pytest.approx(emulator.meter.grand_total(), rel=0.001)


def test_a_box_that_ends_itself_keeps_its_files(
    project: Open, emulator: ModalEmulator, harness: ModalHarness
) -> None:
    ws = project()
    box = lifecycle.up(ws, "b")
    ssh(box, "sh", "-c", "echo precious >work/kept.txt")
    recipe = ws.provider("modal").watchdog(box.handle)
    assert recipe is not None
    subprocess.run(command.argv(box, recipe.argv), check=False, capture_output=True, timeout=60)
    harness.reaches(ws.provider("modal"), box.handle, BoxState.PAUSED)
    (box,) = lifecycle.refresh(ws, [box])
    assert box.state is BoxState.PAUSED
    assert "it ended by itself" in box.message
    assert emulator.meter.billing() == []
    box = lifecycle.up(ws, "b")
    assert ssh(box, "cat", "work/kept.txt") == "precious"


def test_another_computer_adopts_a_running_box(
    project: Open, home: Path, monkeypatch: pytest.MonkeyPatch, emulator: ModalEmulator
) -> None:
    lifecycle.up(project(), "b")
    monkeypatch.setenv("DEVBOX_HOME", str(home / "other"))
    elsewhere = project()
    (finding,) = lifecycle.reconcile(elsewhere, provider="modal", wanted="adopt")
    assert finding.kind == "adopted"
    box = elsewhere.box("b")
    assert box.state is BoxState.RUNNING
    assert ssh(box, "whoami") == "root"
    assert len(emulator.sandboxes) == 1


def test_two_computers_that_bring_up_one_name_get_one_box(
    project: Open, home: Path, monkeypatch: pytest.MonkeyPatch, emulator: ModalEmulator
) -> None:
    project()
    ups = []
    for computer in ("one", "two"):
        monkeypatch.setenv("DEVBOX_HOME", str(home / computer))
        argv = [sys.executable, "-m", "tests.lifecycle.driver", "up", "-", "-"]
        ups.append(warm.Popen(argv, stderr=subprocess.PIPE))
    errors = [up.communicate(timeout=120)[1].decode() for up in ups]
    assert [up.returncode for up in ups] == [0, 0], errors
    assert len(emulator.meter.billing()) == 1
    for computer in ("one", "two"):
        monkeypatch.setenv("DEVBOX_HOME", str(home / computer))
        assert ssh(Workspace.open().box("b"), "whoami") == "root"


def test_without_waiting_up_returns_and_settle_finishes(
    project: Open, emulator: ModalEmulator
) -> None:
    ws = project()
    box = lifecycle.up(ws, "b", wait=False)
    assert box.handle.startswith("sb-")
    assert lifecycle.resume_goal(ws, box).state is BoxState.RUNNING
    assert len(emulator.sandboxes) == 1


def test_a_box_that_another_computer_moved_is_reached_again(
    project: Open, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = project()
    box = lifecycle.up(mine, "b")
    ssh(box, "sh", "-c", "echo precious >work/kept.txt")
    before = box.endpoint
    monkeypatch.setenv("DEVBOX_HOME", str(home / "other"))
    theirs = project()
    lifecycle.reconcile(theirs, provider="modal", wanted="adopt")
    lifecycle.resume(theirs, lifecycle.pause(theirs, theirs.box("b"), save=False))
    monkeypatch.setenv("DEVBOX_HOME", str(home / ".devbox"))
    (box,) = lifecycle.refresh(mine, [mine.box("b")])
    assert box.state is BoxState.RUNNING
    assert box.endpoint != before
    assert ssh(box, "cat", "work/kept.txt") == "precious"


def test_reconcile_looks_where_the_project_has_boxes_to_be(
    project: Open, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lifecycle.up(project(), "b")
    monkeypatch.setenv("DEVBOX_HOME", str(home / "other"))
    (finding,) = lifecycle.reconcile(project())
    assert (finding.kind, finding.provider) == ("stranger", "modal")


def test_the_time_of_a_try_is_that_of_the_call_that_makes_the_sandbox(
    project: Open, emulator: ModalEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill after an image was built for long leaves the record as it is at this call."""
    ws = project()
    real, ahead = ws.clock, [0.0]
    ws.clock = lambda: real() + ahead[0]
    noted: list[float] = []

    def slow_build(*args: Any) -> Any:
        ahead[0] += 1800.0
        return build(*args)

    def noting_launch(*args: Any) -> str:
        (box,) = ws.store.boxes.all()
        assert box.unanswered is not None
        noted.append(ws.clock() - box.unanswered)
        return launch.launch(*args)

    build = image.build
    monkeypatch.setattr(image, "build", slow_build)
    monkeypatch.setattr(provider, "launch", noting_launch)
    box = lifecycle.up(ws, "b")
    assert box.unanswered is None
    assert len(noted) == 1
    assert noted[0] < 60.0
    lifecycle.down(ws, box)

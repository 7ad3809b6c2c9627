"""What guards a Space is said as it is: max_uptime is promised only where something keeps it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devbox import lifecycle
from devbox.workspace import Workspace
from tests.emulators.hf import HfEmulator
from tests.providers.hf.conftest import Devbox

Project = Callable[..., Path]
PAUSE = 'pause_token = "env:PAUSE_TOKEN_OF_TEST"'


@pytest.fixture
def opened() -> Iterator[Callable[[Path], Workspace]]:
    made: list[Workspace] = []

    def make(folder: Path) -> Workspace:
        made.append(Workspace.open(folder))
        return made[-1]

    yield make
    for ws in made:
        for box in ws.store.boxes.all():
            lifecycle.down(ws, box, save=False)
        ws.store.close()


def test_without_a_pause_token_nothing_is_promised(
    hub: HfEmulator, devbox: Devbox, project: Project
) -> None:
    folder = project("hf-space")
    told = devbox(folder, "up").stderr
    assert "this box cannot pause itself" in told
    assert "no ceiling" in told
    assert "pause_token" in told
    status = devbox(folder, "status", "train").stdout
    assert "pauses at max_uptime" not in status
    assert "but nothing stops it then" in status
    assert "Dev Mode, and ssh with it, ends by itself after 48 hours of inactivity" in status
    assert "pause_token" in status


def test_with_one_its_watchdog_keeps_it(
    hub: HfEmulator, project: Project, opened: Callable[[Path], Workspace]
) -> None:
    ws = opened(project("hf-space", hf=PAUSE))
    box = lifecycle.up(ws, "train")
    found = lifecycle.guards(ws, box)
    assert found.pauses
    assert found.ceiling
    assert "its watchdog pauses it when it is idle and at max_uptime" in found.lines
    assert found.fix == ""
    verdict = lifecycle.idle_status(ws, box)
    assert verdict is not None
    assert verdict.pauses_at is not None


def test_free_hardware_sleeps_by_a_rule_of_the_hubs(
    hub: HfEmulator, project: Project, opened: Callable[[Path], Workspace]
) -> None:
    ws = opened(project("hf-space"))
    box = lifecycle.up(ws, "train")
    assert any("max_uptime after the last request" in x for x in lifecycle.guards(ws, box).lines)
    free = lifecycle.resize(ws, box, "cpu-basic", save=False)
    assert any("48 hours after the last request" in x for x in lifecycle.guards(ws, free).lines)


def test_a_job_is_ended_by_the_hub(
    hub: HfEmulator, project: Project, opened: Callable[[Path], Workspace]
) -> None:
    ws = opened(project("hf-job"))
    found = lifecycle.guards(ws, lifecycle.up(ws, "train"))
    assert found.ceiling
    assert "the Hub ends the Job at max_uptime" in found.lines


def test_a_job_that_ends_when_idle_keeps_no_disk_and_says_so(
    hub: HfEmulator, devbox: Devbox, project: Project
) -> None:
    folder = project("hf-job")
    assert "its watchdog ends it when it is idle and at max_uptime" in devbox(folder, "up").stderr
    orders = json.loads(devbox(folder, "exec", "train", "cat", ".devbox-box/config.json").stdout)
    assert orders["disk_kept"] is False
    refused = devbox(folder, "pause", code=6).stderr
    assert "cannot pause" in refused
    devbox(folder, "down", "--yes")

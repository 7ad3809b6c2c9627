"""What is said of a box that costs nothing yet, and of one that a visit wakes: never "nothing"."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.emulators.common import Fault
from tests.emulators.hf import HfEmulator
from tests.providers.hf.conftest import Devbox

Project = Callable[..., Path]
MAY = "may $0.40/h"


def test_a_space_that_builds(hub: HfEmulator, devbox: Devbox, project: Project) -> None:
    hub.hub.times = replace(hub.hub.times, build=3600.0)
    folder = project("hf-space")
    accepted = devbox(folder, "up", "--no-wait")
    assert "starts by itself after that" in accepted.stderr
    assert "costing: nothing yet" in accepted.stdout
    assert MAY in devbox(folder, "ls", "--refresh").stdout
    status = devbox(folder, "status", "train").stdout
    assert "it may cost $0.40/h: its image builds" in status
    assert "costing   nothing\n" not in status


def test_a_space_that_sleeps(hub: HfEmulator, devbox: Devbox, project: Project) -> None:
    folder = project("hf-space")
    devbox(folder, "up")
    hub.advance(9 * 3600)
    assert hub.spaces["me/devbox-train"].stage == "STOPPED"
    assert MAY in devbox(folder, "ls", "--refresh").stdout
    assert "any visit to its page wakes it" in devbox(folder, "status", "train").stdout
    devbox(folder, "resume")
    devbox(folder, "pause", "--yes")
    assert MAY not in devbox(folder, "ls", "--refresh").stdout


@pytest.mark.parametrize("provider", ["hf-space", "hf-job"])
def test_an_interrupt_while_the_create_is_in_flight(
    hub: HfEmulator, project: Project, provider: str
) -> None:
    folder = project(provider)
    route = {"hf-space": "create_repo", "hf-job": "run_job"}[provider]
    hub.knobs.set(route, Fault.latency(60.0))
    process = subprocess.Popen(
        [sys.executable, "-m", "devbox.cli.main", "up"],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    until = time.monotonic() + 60
    while hub.knobs.armed() and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "train: it may cost $0.40/h" in said
    assert "no tracked box costs money" not in said
    assert "end it with: devbox down train" in said

"""`up --no-wait` returns once the provider has accepted; `status --wait` or reconcile finishes."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import pytest

from devbox import lifecycle, paths
from devbox.model import BoxState
from tests import warm
from tests.faults.campaign import ROOT
from tests.faults.conftest import MakeWorld, workspace
from tests.faults.world import World
from tests.faults.worlds import WORLDS

pytestmark = pytest.mark.real_time

NAMES = [each.name for each in WORLDS if not each.ahead]


def devbox(world: World, *words: str) -> str:
    done = warm.run(
        [sys.executable, "-m", "devbox.cli.main", *words],
        cwd=world.project,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return str(done.stdout)


def status(world: World, *words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(devbox(world, "status", "b", "--json", *words))
    return found


def assert_finished(world: World) -> None:
    """Reachable, watched, billed, and nothing is left to do."""
    assert "Host devbox-b" in paths.ssh_config().read_text()
    assert devbox(world, "exec", "b", "echo", "hi") == "hi\n"
    ws = workspace(world)
    box = ws.box("b")
    assert box.state is BoxState.RUNNING
    assert ws.store.boxes.open_intents() == []
    assert ws.store.ledger.current(box.id) is not None
    verdict = lifecycle.idle_status(ws, box)
    assert verdict is not None
    assert verdict.deadline is not None
    assert world.billing() == 1
    devbox(world, "down", "--yes", "--no-save")
    assert world.billing() == world.live() == 0


@pytest.mark.parametrize("name", NAMES)
def test_status_wait_finishes_it(make_world: MakeWorld, name: str) -> None:
    world = make_world(name)
    devbox(world, "up", "--no-wait")
    assert world.live() == 1
    assert not paths.ssh_config().exists()
    ws = workspace(world)
    assert [i.goal for i in ws.store.boxes.open_intents()] == ["running"]
    ws.store.close()
    assert status(world, "--wait")["state"] == "running"
    assert_finished(world)


@pytest.mark.parametrize("name", ["hf-space", "modal"])
def test_reconcile_finishes_it(make_world: MakeWorld, name: str) -> None:
    world = make_world(name)
    devbox(world, "up", "--no-wait")
    assert "finished" in devbox(world, "reconcile")
    assert_finished(world)


def test_a_plain_status_only_looks(make_world: MakeWorld) -> None:
    world = make_world("hf-job")
    devbox(world, "up", "--no-wait")
    for _ in range(2):
        assert status(world)["state"] in ("provisioning", "starting", "running")
    assert not paths.ssh_config().exists()
    devbox(world, "down", "--yes", "--no-save")
    assert world.live() == 0

"""Giving up on a box whose provider does not take its end any more."""

from __future__ import annotations

import pytest

from devbox import lifecycle
from devbox.lifecycle import untracked
from devbox.model import BoxState
from tests.emulators.common import Fault
from tests.faults.conftest import MakeWorld, workspace
from tests.faults.test_stops import ENDS
from tests.faults.world import Emulated
from tests.faults.worlds import LAG
from tests.remote.sshd import wait_until

HOUR = 3600.0


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize("fault", [Fault.unauthorized(), Fault.server_error()])
def test_it_is_counted_until_then_and_found_again(
    make_world: MakeWorld, name: str, fault: Fault
) -> None:
    world = make_world(name)
    assert isinstance(world, Emulated)
    ws = workspace(world)
    told: list[str] = []
    ws.narrate = told.append
    box = lifecycle.up(ws, "b")
    world.knobs.set(ENDS[name], fault, times=None)
    world.advance(HOUR)
    assert "AND COST" in lifecycle.warnings(ws, box)[0]
    box = lifecycle.forget(ws, box)
    assert box.state is BoxState.LOST
    assert "its end is not confirmed" in box.message
    assert any("it may continue there AND COST" in line for line in told)
    (stretch,) = ws.store.ledger.of_box(box.id)
    assert stretch.end == pytest.approx(world.clock.now(), abs=60)
    assert stretch.end is not None
    assert stretch.end - stretch.start > HOUR
    assert ws.store.boxes.open_intents() == []
    assert ws.store.boxes.all() == []
    assert world.billing() == 1
    world.knobs.clear(ENDS[name])
    world.advance(LAG + ws.provider(name).find_lag)
    assert [seen.token for seen in untracked(ws, name)] == [box.token]
    removed = lifecycle.reconcile(ws, provider=name, wanted="remove")
    assert [finding.kind for finding in removed] == ["removed"]
    wait_until(lambda: world.billing() == world.live() == 0, "it is gone")


@pytest.mark.parametrize("name", ENDS)
def test_one_that_can_be_ended_is_ended(make_world: MakeWorld, name: str) -> None:
    world = make_world(name)
    ws = workspace(world)
    box = lifecycle.forget(ws, lifecycle.up(ws, "b"))
    assert box.state is BoxState.TERMINATED
    assert world.billing() == world.live() == 0
    assert lifecycle.forget(ws, box).state is BoxState.TERMINATED

"""A stop that the provider refuses or does not confirm keeps showing as costing, and is retried."""

from __future__ import annotations

import pytest

from devbox import lifecycle
from devbox.errors import AuthError, ProviderError, Unavailable
from devbox.model import Box, BoxState
from devbox.state.spending import spent_by_box
from devbox.workspace import Workspace
from tests.emulators.common import Fault
from tests.faults.campaign import metered
from tests.faults.conftest import MakeWorld, workspace
from tests.faults.world import Emulated, World

#: by which calls a provider is asked to end a box, and to pause one
ENDS = {"hf-space": "delete_repo", "hf-job": "cancel_job", "modal": "SandboxTerminate"}
PAUSES = {"hf-space": "pause", "modal": "SandboxTerminate"}
HOUR = 3600.0


def _spent(ws: Workspace, world: World) -> dict[str, int | None]:
    now = world.clock.now()
    return spent_by_box(ws.store.database, 0, now, now)


def assert_costs(world: World, ws: Workspace, box: Box, state: BoxState) -> None:
    """It shows as on its way out, and an hour more is an hour more on both bills."""
    assert ws.store.boxes.get(box.id).state is state  # type: ignore[union-attr]
    assert world.billing() == 1
    before = _spent(ws, world)[box.id]
    world.advance(HOUR)
    after = _spent(ws, world)[box.id]
    assert before is not None
    assert after is not None
    hourly = box.price.micro_per_hour
    assert hourly
    assert after - before == pytest.approx(hourly, rel=0.01)
    (row,) = lifecycle.refresh(ws, [ws.box("b")])
    assert row.state is state


def assert_bills_agree(world: World, ws: Workspace, box: Box) -> None:
    ours = _spent(ws, world)[box.id]
    theirs = metered(world.bill(), world.clock.now())
    assert ours == pytest.approx(theirs, rel=0.001)


@pytest.mark.parametrize("name", ENDS)
def test_an_end_that_is_not_confirmed(make_world: MakeWorld, name: str) -> None:
    world = make_world(name)
    assert isinstance(world, Emulated)
    ws = workspace(world)
    box = lifecycle.up(ws, "b")
    world.knobs.set(ENDS[name], Fault.stop_ignored(), times=None)
    with pytest.raises(ProviderError, match="still stopping after 5m") as caught:
        lifecycle.down(ws, box, save=False)
    assert "still costing" in caught.value.means
    assert "devbox reconcile" in caught.value.fix
    assert_costs(world, ws, box, BoxState.STOPPING)
    assert [f.kind for f in lifecycle.reconcile(ws)] == ["failed"]
    assert_costs(world, ws, box, BoxState.STOPPING)
    world.knobs.clear(ENDS[name])
    assert [f.kind for f in lifecycle.reconcile(ws)] == ["finished"]
    assert ws.box("b").state is BoxState.TERMINATED
    assert world.billing() == world.live() == 0
    assert ws.store.ledger.current(box.id) is None
    assert_bills_agree(world, ws, box)


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize("fault", [Fault.forbidden(), Fault.unauthorized(), Fault.server_error()])
def test_an_end_that_is_refused(make_world: MakeWorld, name: str, fault: Fault) -> None:
    world = make_world(name)
    assert isinstance(world, Emulated)
    ws = workspace(world)
    box = lifecycle.up(ws, "b")
    world.knobs.set(ENDS[name], fault, times=None)
    with pytest.raises((AuthError, Unavailable)) as caught:
        lifecycle.down(ws, box, save=False)
    assert "cost" in caught.value.means
    assert_costs(world, ws, box, BoxState.STOPPING)
    assert [f.kind for f in lifecycle.reconcile(ws)] == ["failed"]
    world.knobs.clear(ENDS[name])
    lifecycle.down(ws, ws.box("b"), save=False)
    assert ws.box("b").state is BoxState.TERMINATED
    assert world.billing() == world.live() == 0
    assert_bills_agree(world, ws, box)


@pytest.mark.parametrize("name", PAUSES)
def test_a_pause_that_is_not_confirmed(make_world: MakeWorld, name: str) -> None:
    world = make_world(name)
    assert isinstance(world, Emulated)
    ws = workspace(world)
    box = lifecycle.up(ws, "b")
    world.knobs.set(PAUSES[name], Fault.stop_ignored(), times=None)
    with pytest.raises(ProviderError, match="still pausing after 5m") as caught:
        lifecycle.pause(ws, box, save=False)
    assert "still costing" in caught.value.means
    assert_costs(world, ws, box, BoxState.PAUSING)
    world.knobs.clear(PAUSES[name])
    assert [f.kind for f in lifecycle.reconcile(ws)] == ["finished"]
    assert ws.box("b").state is BoxState.PAUSED
    assert world.billing() == 0
    assert_bills_agree(world, ws, box)
    lifecycle.down(ws, ws.box("b"), save=False)

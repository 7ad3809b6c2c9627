"""Changes of a box that exists: restart, other hardware, a successor; and what a box is after one
that was refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from devbox import lifecycle
from devbox.errors import Conflict, DevboxError, NotFound, ProviderError, Unavailable
from devbox.model import Box, BoxState
from devbox.spec import decode_box
from devbox.workspace import Workspace
from tests.lifecycle.cloud import COMMAND, HOUR, REACHED, Pausing, a_project, told

SMALL, LARGE = 3_600_000, 36_000_000  # micro-dollars an hour


@pytest.fixture
def ws(home: Path, cloud: Pausing) -> Workspace:
    return a_project(home, cloud, toml=COMMAND + 'hardware = "small"\n')


def prices(ws: Workspace, box: Box) -> list[int | None]:
    """Of each interval, in micro-dollars an hour."""
    return [each.price.micro_per_hour for each in ws.store.ledger.of_box(box.id)]


def test_a_restart_says_which_one_it_is(ws: Workspace, cloud: Pausing) -> None:
    box = lifecycle.up(ws, "b")
    plans: list[tuple[str, ...]] = []
    ws.on_plan = lambda stages: plans.append(tuple(stages))
    assert lifecycle.restart(ws, box, save=False).state is BoxState.RUNNING
    assert lifecycle.restart(ws, box, factory=True).state is BoxState.RUNNING
    assert [call for call in cloud.calls if "restart" in call] == ["restart False", "restart True"]
    assert plans == [("restart", "start"), ("save", "restart", "start")]
    assert ws.store.boxes.open_intents() == []


def test_other_hardware_costs_from_the_move_on(ws: Workspace, cloud: Pausing) -> None:
    box = lifecycle.up(ws, "b")
    cloud.clock.advance(HOUR)
    lines = told(ws)
    box = lifecycle.resize(ws, box, "large")
    assert (box.hardware, box.price.micro_per_hour) == ("large", LARGE)
    assert prices(ws, box) == [SMALL, LARGE]
    assert decode_box(box.spec).first_hardware == "large"
    assert "b: to large at $36.00/h (live)" in lines


def test_hardware_that_is_refused_or_not_there_changes_nothing(
    ws: Workspace, cloud: Pausing
) -> None:
    box = lifecycle.up(ws, "b")
    with pytest.raises(NotFound, match="no hardware 'huge'") as missing:
        lifecycle.resize(ws, box, "huge")
    assert missing.value.means == "b still runs on small and costs $3.60/h"
    cloud.fail("resize large", ProviderError("no quota for it"))
    with pytest.raises(ProviderError, match="no quota") as caught:
        lifecycle.resize(ws, box, "large")
    assert caught.value.means == "b still runs on small and costs $3.60/h"
    assert ws.box("b").spec == box.spec
    assert ws.store.boxes.open_intents() == []


def test_a_change_whose_outcome_is_unknown_stays_open(ws: Workspace, cloud: Pausing) -> None:
    box = lifecycle.up(ws, "b")
    cloud.fail("resize large", Unavailable("no answer"), times=6)
    with pytest.raises(Unavailable):
        lifecycle.resize(ws, box, "large")
    (goal,) = ws.store.boxes.open_intents()
    assert (goal.goal, goal.options) == ("running", {"change": "resize"})
    assert decode_box(ws.box("b").spec).first_hardware == "large"


def test_a_refusal_of_a_box_that_is_on_its_way_leaves_its_goal_open(
    ws: Workspace, cloud: Pausing
) -> None:
    box = lifecycle.up(ws, "b")

    def refuse(handle: str, *, factory: bool) -> None:
        cloud.show(handle, state=BoxState.STARTING)
        raise ProviderError("it starts already")

    cloud.restart = refuse  # type: ignore[method-assign]
    with pytest.raises(ProviderError) as caught:
        lifecycle.restart(ws, box)
    assert caught.value.means.startswith("b is starting: ")
    assert [goal.goal for goal in ws.store.boxes.open_intents()] == ["running"]


def test_a_successor_takes_the_place_of_a_box(ws: Workspace, cloud: Pausing) -> None:
    box = lifecycle.up(ws, "b")
    cloud.clock.advance(HOUR)
    after = lifecycle.renew(ws, box)
    assert (after.id, after.handle, after.state) == (box.id, "h1-next", BoxState.RUNNING)
    assert cloud.there["h1"].state is BoxState.TERMINATED
    assert after.started == ws.clock()


def test_what_does_not_run_is_not_changed(ws: Workspace) -> None:
    box = lifecycle.pause(ws, lifecycle.up(ws, "b"))
    for change in (lifecycle.restart, lifecycle.renew):
        with pytest.raises(Conflict, match="b is paused, not running") as caught:
            change(ws, box)
        assert (caught.value.means, caught.value.fix) == ("nothing was changed", "devbox up b")


def test_a_box_whose_files_cannot_be_fetched_is_not_changed(home: Path, cloud: Pausing) -> None:
    ws = a_project(home, cloud, toml=REACHED + 'sync.down = ["results"]\n')
    box = lifecycle.up(ws, "b", wait=False)
    with pytest.raises(DevboxError, match="its files could not be fetched") as caught:
        lifecycle.restart(ws, box, factory=True)
    assert caught.value.means.startswith("it was left running because of its files")
    assert caught.value.fix.endswith("devbox restart b --factory --no-save")
    assert [call for call in cloud.calls if "restart" in call] == []

"""Changes of a box that exists: restart, other hardware, a successor, an edited devbox.toml; and
what a box is after one that was refused."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from devbox import lifecycle, paths
from devbox.errors import Conflict, NotFound, ProviderError, Unavailable
from devbox.lifecycle import respec
from devbox.model import Box, BoxState, Endpoint, Hardware, Offer, Price
from devbox.remote.config import ssh_config
from devbox.spec import BoxSpec, decode_box
from devbox.workspace import Workspace
from tests.boxes import rewrite
from tests.lifecycle.cloud import COMMAND, HOUR, Pausing, a_project, operation, told

SMALL, LARGE = 3_600_000, 36_000_000  # micro-dollars an hour
#: one that is reached by ssh; nothing answers there
REACHED = '[boxes.b]\nprovider = "local"\n'


@pytest.fixture
def cloud() -> Pausing:
    return Pausing()


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


def test_an_edit_is_followed_at_the_next_resume(home: Path, ws: Workspace, cloud: Pausing) -> None:
    lifecycle.pause(ws, lifecycle.up(ws, "b"))
    ws = a_project(home, cloud, toml=COMMAND + 'hardware = "large"\n')
    lines = told(ws)
    box = lifecycle.up(ws, "b")
    assert (box.hardware, prices(ws, box)) == ("large", [SMALL, LARGE])
    assert lines[:2] == [
        "b: from now on large at $36.00/h (live)",
        "b: follows devbox.toml in hardware",
    ]
    assert "follows devbox.toml in hardware" in [
        event.message for event in ws.store.events.of_box(box.id) if event.kind == "spec"
    ]


def test_an_edit_that_chooses_the_same_hardware_is_taken_without_a_word(
    home: Path, ws: Workspace, cloud: Pausing
) -> None:
    lifecycle.up(ws, "b")
    ws = a_project(home, cloud, toml=COMMAND + "max_price = 10.0\n")
    lines = told(ws)
    box = lifecycle.up(ws, "b")
    assert lines == ["b is up already"]
    assert decode_box(box.spec).max_price == 10.0
    assert [event.kind for event in ws.store.events.of_box(box.id)].count("spec") == 0


def test_a_region_of_a_paused_box_changes_its_price(
    ws: Workspace, cloud: Pausing, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = lifecycle.pause(ws, lifecycle.up(ws, "b"))
    monkeypatch.setattr(Pausing, "resume_takes", frozenset({"region"}))

    def offers_for(wanted: BoxSpec) -> list[Offer]:
        price = Price(SMALL * 2 if wanted.region == "eu" else SMALL)
        return [Offer("local", Hardware("small"), price, 0.0, region=wanted.region)]

    monkeypatch.setattr(cloud, "offers_for", offers_for)
    wanted = msgspec.structs.replace(decode_box(box.spec), region="eu")
    found = respec.compare(operation(ws), wanted)
    assert found.offer is not None
    assert (found.taken, found.offer.price.micro_per_hour) == (("region",), 2 * SMALL)
    assert found.left == ()


def test_hardware_of_a_running_box_is_left_to_resize(
    home: Path, ws: Workspace, cloud: Pausing
) -> None:
    lifecycle.up(ws, "b")
    ws = a_project(home, cloud, toml=COMMAND + 'hardware = "large"\n')
    with pytest.raises(Conflict, match="hardware is small, not large") as caught:
        lifecycle.up(ws, "b")
    assert caught.value.fix == "devbox resize b large"
    assert caught.value.means == "b is running as it was made"


def test_a_shared_connection_ends_when_the_agent_is_to_be_forwarded(
    home: Path, cloud: Pausing
) -> None:
    """It would keep what it was opened with."""
    ws = a_project(home, cloud, toml=REACHED)
    box = lifecycle.up(ws, "b", wait=False)
    placed = msgspec.structs.replace(box, endpoint=Endpoint("box.test"))
    rewrite(ws.store, placed)
    ssh_config.publish(ws.store.boxes.all)
    config = paths.ssh_config()
    assert "ForwardAgent yes" not in config.read_text()
    wanted = msgspec.structs.replace(decode_box(box.spec), forward_agent=True)
    op = operation(ws)
    respec.take(op, respec.compare(op, wanted))
    assert "ForwardAgent yes" in config.read_text()
    assert ws.box("b").spec == op.box.spec != box.spec


def test_a_box_that_was_never_made_is_dropped_with_or_without_a_goal(
    ws: Workspace, cloud: Pausing
) -> None:
    for finish in (False, True):
        cloud.fail("create", ProviderError("no quota"))
        with pytest.raises(ProviderError):
            lifecycle.up(ws, "b")
        op = operation(ws)
        if finish and (goal := op.open_goal()):
            ws.store.boxes.finish(goal.id, "refused", ws.clock())
        assert respec.is_unmade(op)
        respec.drop(op)
        assert ws.store.boxes.all() == []
        assert ws.store.boxes.open_intents() == []
        assert op.box.message == "devbox.toml changed before it was created"

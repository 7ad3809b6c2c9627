"""A create that was never answered may take effect later: until it can no longer, its absence is
no end."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from huggingface_hub import HfApi

from devbox import lifecycle
from devbox.errors import Unavailable
from devbox.lifecycle import untracked
from devbox.model import Box, BoxState
from devbox.workspace import Workspace
from tests.boxes import rewrite
from tests.emulators.common import Fault
from tests.faults import held
from tests.faults.conftest import MakeWorld, workspace
from tests.faults.held import CREATES, LONG, assert_ended, interrupt, never_answered
from tests.faults.world import Emulated
from tests.faults.worlds import JobWorld, SpaceWorld


def listening(ws: Workspace) -> list[str]:
    told: list[str] = []
    ws.narrate = told.append
    return told


@pytest.mark.parametrize("name", CREATES)
def test_a_create_that_takes_effect_after_down_was_typed(make_world: MakeWorld, name: str) -> None:
    world = make_world(name)
    assert isinstance(world, Emulated)
    held.late_reply(world, 10.0)


@pytest.mark.parametrize("lag", [12.0, 30.0])
def test_an_answer_that_was_lost_while_the_listing_lags(make_world: MakeWorld, lag: float) -> None:
    world = make_world("hf-job")
    assert isinstance(world, Emulated)
    held.lagging_list(world, lag)


def test_down_that_is_cut_off_keeps_its_goal_and_comes_back_to_it(make_world: MakeWorld) -> None:
    world = make_world("hf-job")
    assert isinstance(world, Emulated)
    held.late_reply_and_reconcile(world)


def test_one_that_never_comes_is_over_when_it_no_longer_can(make_world: MakeWorld) -> None:
    world = make_world("hf-job")
    assert isinstance(world, Emulated)
    ws = never_answered(world, Fault.reset(), 0.0)
    provider, asked = ws.provider("hf-job"), ws.box("b").unanswered
    assert asked is not None
    lifecycle.down(ws, ws.box("b"), save=False)
    assert world.clock.now() - asked >= provider.create_lag + provider.find_lag
    assert_ended(world, ws)


def test_reconcile_gives_up_no_sooner(make_world: MakeWorld) -> None:
    world = make_world("hf-job")
    assert isinstance(world, Emulated)
    ws = never_answered(world, Fault.reset(), 0.0)
    assert [f.kind for f in lifecycle.reconcile(ws, provider="hf-job")] == ["busy"]
    assert ws.box("b").state is BoxState.PROVISIONING
    world.advance(LONG)
    assert [f.kind for f in lifecycle.reconcile(ws, provider="hf-job")] == ["given-up"]
    assert_ended(world, ws)


def test_one_that_is_given_up_says_that_it_may_still_appear(make_world: MakeWorld) -> None:
    world = make_world("hf-job")
    assert isinstance(world, Emulated)
    ws = never_answered(world, Fault.reset(), 0.0)
    box = lifecycle.forget(ws, ws.box("b"))
    assert box.state is BoxState.LOST
    assert "it may still appear" in box.message


def test_a_create_that_was_refused_leaves_nothing_to_wait_for(make_world: MakeWorld) -> None:
    world = make_world("hf-job")
    assert isinstance(world, Emulated)
    ws = workspace(world)
    world.knobs.set("run_job", Fault.payment_required())
    with pytest.raises(Exception, match="Payment required"):
        lifecycle.up(ws, "b")
    assert ws.box("b").unanswered is None
    ws.sleep = interrupt
    assert lifecycle.down(ws, ws.box("b"), save=False).state is BoxState.TERMINATED


@pytest.mark.parametrize("name", CREATES)
def test_the_second_try_waits_until_the_first_would_be_listed(
    make_world: MakeWorld, name: str
) -> None:
    world = make_world(name)
    assert isinstance(world, Emulated)
    held.lagging_list_and_up(world)


def twins(world: JobWorld) -> tuple[Workspace, Box]:
    """The answer is lost and the listing lags more than anybody allows for: two Jobs of a token."""
    world.knobs.clear("list_jobs")
    world.knobs.set("list_jobs", Fault.list_lag(400.0), times=None)
    world.knobs.set("run_job", Fault.reply_lost())
    ws = workspace(world)
    try:
        box = lifecycle.up(ws, "b")
    except Unavailable:
        box = lifecycle.up(ws, "b")
    assert world.live() == 2
    world.advance(LONG)
    return ws, box


def test_a_twin_is_shown_and_ended_with_its_box(make_world: MakeWorld) -> None:
    world = make_world("hf-job")
    assert isinstance(world, JobWorld)
    ws, box = twins(world)
    (other,) = untracked(ws, "hf-job")
    assert (other.token, other.handle != box.handle) == (box.token, True)
    (finding,) = lifecycle.reconcile(ws, provider="hf-job")
    assert finding.kind == "stranger"
    assert "a second one of b" in finding.detail
    told = listening(ws)
    lifecycle.down(ws, box, save=False)
    assert any(other.handle in line for line in told)
    assert_ended(world, ws)


def test_reconcile_removes_a_twin_and_keeps_its_box(make_world: MakeWorld) -> None:
    world = make_world("hf-job")
    assert isinstance(world, JobWorld)
    ws, box = twins(world)
    assert "removed" in [f.kind for f in lifecycle.reconcile(ws, wanted="remove")]
    assert world.live() == 1
    assert lifecycle.refresh(ws, [box])[0].state is BoxState.RUNNING
    lifecycle.down(ws, box, save=False)
    assert_ended(world, ws)


def test_a_twin_of_a_box_that_another_computer_made_is_ended_too(make_world: MakeWorld) -> None:
    """Its journal is there, so here nothing says that an answer was lost."""
    world = make_world("hf-job")
    assert isinstance(world, JobWorld)
    ws, box = twins(world)
    rewrite(ws.store, msgspec.structs.replace(box, unanswered=None))
    lifecycle.down(ws, ws.box("b"), save=False)
    assert_ended(world, ws)


@pytest.mark.parametrize("lists", [untracked, lifecycle.reconcile], ids=["ls", "reconcile"])
def test_a_space_that_was_duplicated_from_a_box_is_nobody_s_box(
    make_world: MakeWorld, lists: Callable[..., list[object]]
) -> None:
    """Variables travel with a duplicate, and so does the metadata of its README."""
    world = make_world("hf-space")
    assert isinstance(world, SpaceWorld)
    world.knobs.clear("list_spaces")
    ws = workspace(world)
    box = lifecycle.up(ws, "b")
    api = HfApi(endpoint=world.hub.endpoint, token=world.hub.token)
    for copy in ("me/devbox-b-copy", "me/devbox-c"):
        told = api.get_space_variables(box.handle)
        api.create_repo(
            copy,
            repo_type="space",
            space_sdk="docker",
            space_variables=[{"key": key, "value": each.value} for key, each in told.items()],
        )
    assert lists(ws, provider="hf-space") == []
    assert lifecycle.reconcile(ws, provider="hf-space", wanted="adopt") == []
    assert lifecycle.reconcile(ws, provider="hf-space", wanted="remove") == []
    ws.provider("hf-space").terminate("me/devbox-c")
    assert set(world.hub.spaces) == {box.handle, "me/devbox-b-copy", "me/devbox-c"}
    for copy in ("me/devbox-b-copy", "me/devbox-c"):
        api.delete_repo(copy, repo_type="space")
    lifecycle.down(ws, box, save=False)
    assert_ended(world, ws)

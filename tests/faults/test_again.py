"""What one name, one token or one try left behind, met again: nothing is mixed up or counted twice,
and nothing that may still come is called over."""

from __future__ import annotations

import msgspec
import pytest
from huggingface_hub import HfApi

from devbox import lifecycle
from devbox.errors import AuthError, BuildFailed, Busy, Conflict, Locked, Unavailable
from devbox.lifecycle import absence, asking
from devbox.lifecycle.observe import find_lost
from devbox.lifecycle.operation import BoxOperation, working_on
from devbox.model import BoxState
from devbox.providers.base import Observation
from tests.boxes import rewrite
from tests.emulators.common import Fault
from tests.emulators.hf.job import Job
from tests.faults.conftest import MakeWorld, workspace
from tests.faults.world import Emulated
from tests.faults.worlds import SpaceWorld

pytestmark = pytest.mark.real_time


def test_a_lost_box_is_not_found_in_the_next_one_of_its_handle(make_world: MakeWorld) -> None:
    world = make_world("hf-space")
    ws = workspace(world)
    first = lifecycle.up(ws, "b")
    # on the Hub's own page
    assert isinstance(world, SpaceWorld)
    api = HfApi(endpoint=world.hub.endpoint, token=world.hub.token)
    api.delete_repo(first.handle, repo_type="space")
    assert lifecycle.refresh(ws, [first])[0].state is BoxState.LOST
    second = lifecycle.up(ws, "b")
    assert second.handle == first.handle
    assert find_lost(ws) == []
    assert [box.id for box in ws.store.boxes.all()] == [second.id]
    assert list(ws.store.ledger.all_current()) == [second.id]
    lifecycle.down(ws, second, save=False)


def test_a_space_that_was_resumed_on_other_hardware_stays_on_that(make_world: MakeWorld) -> None:
    world = make_world("hf-space")
    ws = workspace(world)
    lifecycle.pause(ws, lifecycle.up(ws, "b"), save=False)
    toml = world.project / "devbox.toml"
    toml.write_text(toml.read_text().replace("t4-small", "cpu-basic"))
    ws = workspace(world)
    box = lifecycle.up(ws, "b")
    assert box.hardware == "cpu-basic"
    box = lifecycle.pause(ws, box, save=False)
    assert lifecycle.refresh(ws, [box])[0].hardware == "cpu-basic"
    assert lifecycle.resume(ws, box).hardware == "cpu-basic"
    assert world.billing() == 0
    lifecycle.down(ws, ws.box("b"), save=False)


def test_a_try_that_was_cut_off_late_may_still_take_effect(make_world: MakeWorld) -> None:
    """An image is built for five minutes, and Ctrl-C comes while the box itself is asked for."""
    world = make_world("modal")
    ws = workspace(world)
    box = lifecycle.up(ws, "b")

    def ask() -> str:
        world.advance(300.0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        asking.ask_for(BoxOperation(ws, box), ask, BoxState.PROVISIONING)
    assert absence.unsettled(BoxOperation(ws, ws.box("b"))) > 0
    lifecycle.down(ws, ws.box("b"), save=False)


def test_a_resumed_box_has_a_beginning_and_an_end_of_its_own(make_world: MakeWorld) -> None:
    world = make_world("modal")
    ws = workspace(world)
    box = lifecycle.up(ws, "b")
    world.advance(60.0)  # it is listed by then
    (box,) = lifecycle.refresh(ws, [box])
    assert box.deadline is not None
    box = lifecycle.pause(ws, box, save=False)
    asking.ask_for(BoxOperation(ws, box), lambda: box.handle, BoxState.STARTING)
    asked = ws.box("b")
    assert (asked.started, asked.deadline) == (None, None)
    lifecycle.down(ws, ws.box("b"), save=False)


def test_of_several_of_one_token_the_one_that_lives_is_the_box(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world("hf-job")
    ws = workspace(world)
    box = lifecycle.up(ws, "b")
    (live,) = absence.find(BoxOperation(ws, box))
    over = live._replace(handle="me/older", state=BoxState.TERMINATED, billed=False)
    nameless = msgspec.structs.replace(box, handle="", state=BoxState.PROVISIONING)
    rewrite(ws.store, nameless)
    intent = ws.store.boxes.begin(box.id, "running", {}, ws.clock())
    ws.store.boxes.step(intent, "create", ws.clock())

    def find(_: object) -> list[Observation]:
        return [over, live]

    with monkeypatch.context() as patch:
        patch.setattr(absence, "find", find)
        found = asking.find_handle(BoxOperation(ws, nameless))
    assert (found.handle, found.state) == (live.handle, BoxState.RUNNING)
    lifecycle.down(ws, ws.box("b"), save=False)


@pytest.mark.parametrize("fault", [Fault.forbidden(), Fault.rate_limited(0.0)])
def test_a_change_that_was_turned_away_leaves_the_box_as_it_was(
    make_world: MakeWorld, fault: Fault
) -> None:
    world = make_world("hf-space")
    assert isinstance(world, Emulated)
    ws = workspace(world)
    box = lifecycle.up(ws, "b")
    world.knobs.set("request_hardware", fault, times=None)
    with pytest.raises((AuthError, Unavailable)):
        lifecycle.resize(ws, box, "l4x1", save=False)
    assert ws.box("b").spec == box.spec
    assert ws.box("b").hardware == "t4-small"
    world.knobs.clear("request_hardware")
    lifecycle.down(ws, ws.box("b"), save=False)


def test_an_end_that_never_comes_can_be_given_up(make_world: MakeWorld) -> None:
    world = make_world("hf-space")
    assert isinstance(world, Emulated)
    ws = workspace(world)
    box = lifecycle.up(ws, "b")
    world.knobs.set("delete_repo", Fault.stop_ignored(), times=None)
    assert lifecycle.forget(ws, box).state is BoxState.LOST
    assert ws.store.boxes.all() == []
    world.knobs.clear("delete_repo")
    lifecycle.reconcile(ws, provider="hf-space", wanted="remove")


def test_a_pause_of_what_was_never_made_is_refused(make_world: MakeWorld) -> None:
    world = make_world("modal")
    ws = workspace(world)
    box = lifecycle.up(ws, "b")
    handle = box.handle
    rewrite(ws.store, msgspec.structs.replace(box, handle="", state=BoxState.PROVISIONING))
    with pytest.raises(Conflict, match="has not been made yet"):
        lifecycle.pause(ws, ws.box("b"), save=False)
    assert ws.store.boxes.open_intents() == []
    rewrite(ws.store, msgspec.structs.replace(box, handle=handle))
    lifecycle.down(ws, ws.box("b"), save=False)


def test_another_lock_that_is_held_is_not_taken_for_the_boxs_own(make_world: MakeWorld) -> None:
    world = make_world("local")
    ws = workspace(world)
    box = lifecycle.up(ws, "b")
    with pytest.raises(Locked, match=r"other\.lock"), working_on(ws, box):
        raise Locked("another devbox process has held other.lock for 30 s")
    with (
        working_on(ws, box),
        pytest.raises(Busy, match="is working on b"),
        working_on(ws, box),
    ):
        raise AssertionError
    lifecycle.down(ws, box, save=False)


def test_reconcile_makes_no_second_job_of_one_that_failed(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world("hf-job")
    ws = workspace(world)
    with monkeypatch.context() as patch:
        patch.setattr(Job, "_run", lambda job: job._finish("ERROR", "Failed to pull the image"))
        with pytest.raises(BuildFailed):
            lifecycle.up(ws, "b")
    before = world.routes().count("run_job")
    (finding,) = lifecycle.reconcile(ws, provider="hf-job")
    assert finding.kind == "failed"
    assert "running: " in finding.detail
    assert world.routes().count("run_job") == before
    assert ws.store.boxes.open_intents() == []
    assert lifecycle.reconcile(ws, provider="hf-job") == []


def test_one_that_cannot_be_ended_does_not_save_the_others(make_world: MakeWorld) -> None:
    world = make_world("hf-job")
    assert isinstance(world, Emulated)
    ws = workspace(world)
    for name in ("b", "c"):
        toml = world.project / "devbox.toml"
        toml.write_text(toml.read_text().replace("[boxes.b]", f"[boxes.{name}]"))
        box = lifecycle.up(workspace(world), name)
        ws.store.boxes.delete(box.id)
    world.advance(600.0)
    world.knobs.set("cancel_job", Fault.forbidden())
    found = lifecycle.reconcile(ws, provider="hf-job", wanted="remove")
    assert sorted(finding.kind for finding in found) == ["failed", "removed"]
    lifecycle.reconcile(ws, provider="hf-job", wanted="remove")
    assert world.live() == 0

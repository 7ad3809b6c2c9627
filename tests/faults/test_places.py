"""Someone else answers: another Hub, another account, another Modal workspace, another engine."""

from __future__ import annotations

from typing import Any

import docker
import msgspec
import pytest

from devbox import lifecycle
from devbox.errors import WrongPlace
from devbox.model import Box, BoxState
from devbox.spec import HfSettings, ModalSettings, Providers, Spec
from devbox.state.spending import spent_by_box
from devbox.workspace import Workspace
from tests.boxes import rewrite
from tests.core.test_state import a_box
from tests.emulators.common import Fault
from tests.emulators.hf import HfEmulator
from tests.emulators.modal import ModalEmulator
from tests.emulators.switch import Switch
from tests.faults.campaign import metered
from tests.faults.conftest import MakeWorld, workspace
from tests.faults.held import engine, interrupt
from tests.faults.world import Emulated, World
from tests.faults.worlds import DockerWorld, JobWorld, ModalWorld


def another_folder(world: World, **providers: Any) -> Workspace:
    root = world.home / "other"
    root.mkdir()
    return Workspace(
        Spec(project="other", root=root, providers=Providers(**providers)),
        clock=world.clock.now,
        sleep=world.advance,
    )


def assert_untouched(ws: Workspace, world: World, box: Box) -> None:
    """Still running in our record as at its provider, with nothing begun."""
    assert ws.store.boxes.get(box.id).state is BoxState.RUNNING  # type: ignore[union-attr]
    assert ws.store.boxes.open_intents() == []
    assert ws.store.ledger.current(box.id) is not None
    assert world.billing() == 1


def assert_refused(ws: Workspace, world: World, box: Box, made: str, answers: str) -> None:
    """A look keeps the box as it was; every verb names both and changes nothing."""
    (seen,) = lifecycle.refresh(ws, [box])
    assert seen.state is BoxState.RUNNING
    assert f"was made at {made}" in seen.unreachable
    assert_untouched(ws, world, box)
    for verb in (lifecycle.down, lifecycle.pause):
        with pytest.raises(WrongPlace) as caught:
            verb(ws, box, save=False)
        assert made in caught.value.what
        assert f"but {answers}" in caught.value.what
        assert "may exist and cost" in caught.value.means
        assert_untouched(ws, world, box)
    assert [f.kind for f in lifecycle.reconcile(ws, provider=box.provider)] == ["failed"]
    assert_untouched(ws, world, box)


@pytest.mark.parametrize("name", ["hf-space", "hf-job"])
def test_a_folder_with_another_endpoint(make_world: MakeWorld, name: str) -> None:
    world = make_world(name)
    ws = workspace(world)
    box = lifecycle.up(ws, "b")
    with HfEmulator(state_dir=world.home / "other-hub") as hub:
        other = another_folder(world, hf=HfSettings(endpoint=hub.endpoint))
        (seen,) = lifecycle.refresh(other, [box])
        assert seen.state is BoxState.RUNNING
        assert lifecycle.reconcile(other, provider=name) == []
        assert_untouched(ws, world, box)
        assert lifecycle.down(other, box, save=False).state is BoxState.TERMINATED
        assert set(hub.calls.routes) <= {"whoami", "list_spaces", "list_jobs"}
    assert world.billing() == world.live() == 0


@pytest.mark.parametrize("name", ["hf-space", "hf-job"])
def test_another_endpoint_in_the_environment(
    make_world: MakeWorld, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(name)
    box = lifecycle.up(workspace(world), "b")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    other = another_folder(world)
    assert lifecycle.down(other, box, save=False).state is BoxState.TERMINATED
    assert world.billing() == world.live() == 0


def test_another_account_of_the_same_hub(make_world: MakeWorld) -> None:
    """Its Jobs are listed as none at all, which says nothing of ours."""
    world = make_world("hf-job")
    assert isinstance(world, JobWorld)
    ws = workspace(world)
    world.knobs.clear("list_jobs")
    world.knobs.set("list_jobs", Fault.list_lag(1e6), times=None)
    world.knobs.set("run_job", Fault.reply_lost())
    ws.sleep = interrupt
    with pytest.raises(KeyboardInterrupt):
        lifecycle.up(ws, "b")
    world.advance(1e6)
    world.hub.account.name = "you"
    ws = workspace(world)
    before = ws.box("b")
    with pytest.raises(WrongPlace, match=r"made at me at hf-job .* but you at hf-job"):
        lifecycle.down(ws, before, save=False)
    assert ws.box("b") == before
    assert [i.goal for i in ws.store.boxes.open_intents()] == ["running"]
    assert [f.kind for f in lifecycle.reconcile(ws, provider="hf-job")] == ["failed"]
    world.hub.account.name = "me"
    ws = workspace(world)
    assert lifecycle.down(ws, ws.box("b"), save=False).state is BoxState.TERMINATED
    assert world.live() == 0


def test_another_workspace_of_the_same_modal(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world("modal")
    assert isinstance(world, ModalWorld)
    with Switch(world.modal.url) as switch, ModalEmulator(workspace="beta") as other:
        monkeypatch.setenv("MODAL_SERVER_URL", switch.url)
        ws = workspace(world)
        box = lifecycle.up(ws, "b")
        switch.to = other.url
        monkeypatch.setenv("MODAL_TOKEN_ID", "ak-of-beta")
        assert_refused(workspace(world), world, box, "emulated-workspace at modal", "beta at modal")
        assert other.sandboxes == {}
        assert other.unexpected == []
        switch.to = world.modal.url
        monkeypatch.setenv("MODAL_TOKEN_ID", "ak-emulated")
        assert lifecycle.down(ws, ws.box("b"), save=False).state is BoxState.TERMINATED
    assert world.billing() == world.live() == 0


def test_another_modal_server_in_another_folder(make_world: MakeWorld) -> None:
    world = make_world("modal")
    box = lifecycle.up(workspace(world), "b")
    with ModalEmulator(workspace="beta") as other:
        there = another_folder(world, modal=ModalSettings(server_url=other.url))
        there.provider("modal").find()
        assert lifecycle.down(there, box, save=False).state is BoxState.TERMINATED
        assert "SandboxTerminate" not in other.calls.routes
    assert world.billing() == world.live() == 0


def test_another_engine_at_the_same_address(make_world: MakeWorld) -> None:
    world = make_world("docker")
    assert isinstance(world, DockerWorld)
    ws = workspace(world)
    box = lifecycle.up(ws, "b")
    assert box.connection is not None
    before = world._proxy.engine
    with engine(world.home / "engine") as other:
        world._proxy.engine = other
        client = docker.APIClient(other)
        answers = f"{client.info()['ID']} {world.home}/engine/data"
        client.close()
        assert_refused(ws, world, box, box.connection.identity, answers)
        assert "remove_container" not in world.routes()
        world._proxy.engine = before
    assert lifecycle.down(ws, ws.box("b"), save=False).state is BoxState.TERMINATED
    assert world.live() == 0


@pytest.mark.parametrize("name", ["hf-space", "hf-job", "modal"])
def test_a_box_that_was_lost_and_is_there_again(make_world: MakeWorld, name: str) -> None:
    world = make_world(name)
    assert isinstance(world, Emulated)
    ws = workspace(world)
    box = lifecycle.up(ws, "b")
    world.advance(3600.0)
    lifecycle.refresh(ws, [box])
    lost = _lose(world, ws, box)
    taken = a_box("b", project=ws.spec.project, root=box.root, state=BoxState.RUNNING)
    ws.store.boxes.insert(taken, "running", {}, world.clock.now())
    world.advance(1800.0)
    (again,) = lifecycle.find_lost(ws)
    assert (again.id, again.state) == (box.id, BoxState.RUNNING)
    assert again.name != "b"
    assert ws.store.boxes.get(taken.id).name == "b"  # type: ignore[union-attr]
    assert lost.state is BoxState.LOST
    now = world.clock.now()
    ours = spent_by_box(ws.store.database, 0, now, now)[box.id]
    assert ours == pytest.approx(metered(world.bill(), now), rel=0.001)
    assert lifecycle.down(ws, again, save=False).state is BoxState.TERMINATED
    assert world.billing() == world.live() == 0


def test_a_verb_on_a_lost_box_looks_first(make_world: MakeWorld) -> None:
    world = make_world("hf-job")
    assert isinstance(world, Emulated)
    ws = workspace(world)
    box = _lose(world, ws, lifecycle.up(ws, "b"))
    assert lifecycle.up(ws, "b").id == box.id
    box = _lose(world, ws, ws.box("b"))
    assert lifecycle.down(ws, box, save=False).state is BoxState.TERMINATED
    assert world.billing() == 0


def _lose(world: Emulated, ws: Workspace, box: Box) -> Box:
    """Its provider answers once that there is no such thing."""
    routes = {"hf-space": "repo_info", "hf-job": "inspect_job", "modal": "SandboxTagsGet"}
    world.knobs.set(routes[world.name], Fault.error(404), times=1)
    if world.name == "modal":
        ws = workspace(world)  # one that has not read its tags yet
    (lost,) = lifecycle.refresh(ws, [box])
    assert lost.state is BoxState.LOST, lost.message
    return lost


def test_a_box_of_an_older_version_is_asked_for_in_its_own_project(make_world: MakeWorld) -> None:
    world = make_world("hf-job")
    ws = workspace(world)
    box = lifecycle.up(ws, "b")
    old = msgspec.structs.replace(box, connection=None)
    rewrite(ws.store, old)
    with HfEmulator(state_dir=world.home / "other-hub") as hub:
        other = another_folder(world, hf=HfSettings(endpoint=hub.endpoint))
        (seen,) = lifecycle.refresh(other, [old])
        assert seen.state is BoxState.RUNNING
        assert "was made in project p" in seen.unreachable
        with pytest.raises(WrongPlace, match="settings that are only there"):
            lifecycle.down(other, old, save=False)
    (seen,) = lifecycle.refresh(ws, [old])
    assert seen.connection == box.connection
    assert lifecycle.down(ws, seen, save=False).state is BoxState.TERMINATED

"""Spaces: adopting, joining, settings, hardware, and what is told of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from huggingface_hub import HfApi

from devbox.errors import AuthError, Conflict, Gone, ProviderError, UsageError
from devbox.model import BoxState
from devbox.providers.base import Request
from devbox.providers.hf import stages
from devbox.providers.hf.hub import repo_id
from devbox.providers.hf.space import HfSpace
from devbox.providers.hf.tags import space_name
from devbox.spec import BoxSpec, HfSettings, Seconds, Volume
from tests.boxes import request_for, wait_for_state
from tests.emulators.common import Fault
from tests.emulators.hf import HfEmulator


def ask(name: str = "b", *, token: str | None = None, **fields: Any) -> Request:
    spec = BoxSpec(provider="hf-space", **fields)
    return request_for(name, spec, token=token, hardware="t4-small")


@pytest.fixture
def api(hub: HfEmulator) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token=hub.token)


def test_it_is_private_and_tagged_from_its_first_moment(hub: HfEmulator, space: HfSpace) -> None:
    hub.knobs.set("dev_mode", Fault.server_error(), times=None)
    request = ask(env={"A": "1"})._replace(secrets={"S": "hidden"})
    with pytest.raises(ProviderError):
        space.create(request)
    made = hub.spaces["me/devbox-b"]
    assert made.repo.private
    assert made.variables["DEVBOX_TOKEN"].value == request.token
    assert (made.variables["A"].value, made.secrets["S"].value) == ("1", "hidden")
    assert made.requested == "cpu-basic"
    assert [seen.handle for seen in space.find(request.token)] == ["me/devbox-b"]


def test_hardware_is_asked_for_after_the_code(hub: HfEmulator, space: HfSpace) -> None:
    space.create(ask(max_uptime=Seconds(5000.2)))
    asked = [call for call in hub.calls.routes if call in ("commit", "request_hardware")]
    assert asked == ["commit", "request_hardware"]
    assert hub.spaces["me/devbox-b"].sleep_seconds == 5001


def test_a_name_that_is_taken_is_a_conflict(hub: HfEmulator, space: HfSpace, api: HfApi) -> None:
    api.create_repo("me/devbox-b", repo_type="space", space_sdk="docker")
    with pytest.raises(Conflict) as caught:
        space.create(ask())
    assert 'space = "me/devbox-b"' in caught.value.fix
    assert hub.spaces["me/devbox-b"].variables == {}


def test_an_adopted_space_is_let_go_and_not_deleted(
    hub: HfEmulator, space: HfSpace, api: HfApi
) -> None:
    api.create_repo("me/mine", repo_type="space", space_sdk="docker")
    for path, text in (("Dockerfile", b"FROM mine\n"), ("app.py", b"1")):
        api.upload_file(
            path_or_fileobj=text, path_in_repo=path, repo_id="me/mine", repo_type="space"
        )
    request = ask(space="me/mine")
    assert space.create(request) == "me/mine"
    made = hub.spaces["me/mine"]
    assert made.repo.files["Dockerfile"].content == b"FROM mine\n"
    assert "app.py" in made.repo.files
    seen = wait_for_state(space, "me/mine", BoxState.RUNNING)
    assert (seen.token, seen.hardware) == (request.token, "t4-small")
    assert [found.handle for found in space.find()] == ["me/mine"]
    space.terminate("me/mine")
    ended = space.observe("me/mine")
    assert ended is not None
    assert (ended.state, ended.billed) == (BoxState.TERMINATED, False)
    assert made.stage == "PAUSED"
    assert space.find() == []
    assert not [key for key in made.variables if key.startswith("DEVBOX_")]


def test_the_question_before_the_end_says_what_stays(space: HfSpace) -> None:
    assert space.end_means(BoxSpec(provider="hf-space")) == "delete what is on it"
    adopted = space.end_means(BoxSpec(provider="hf-space", space="me/mine"))
    assert adopted == "pause its Space, which stays yours; what is on its disk is deleted"


def test_an_adopted_space_that_ignores_the_pause_still_costs(
    hub: HfEmulator, space: HfSpace, api: HfApi
) -> None:
    api.create_repo("me/mine", repo_type="space", space_sdk="docker")
    request = ask(space="me/mine")
    space.create(request)
    api.upload_file(
        path_or_fileobj=b"FROM x\n",
        path_in_repo="Dockerfile",
        repo_id="me/mine",
        repo_type="space",
    )
    wait_for_state(space, "me/mine", BoxState.RUNNING)
    hub.knobs.set("pause", Fault.stop_ignored())
    space.terminate("me/mine")
    seen = space.observe("me/mine")
    assert seen is not None
    assert (seen.state, seen.billed) == (BoxState.STOPPING, True)
    space.terminate("me/mine")
    ended = space.observe("me/mine")
    assert ended is not None
    assert ended.state is BoxState.TERMINATED


def test_terminate_spares_what_is_not_ours(hub: HfEmulator, space: HfSpace, api: HfApi) -> None:
    api.create_repo("me/theirs", repo_type="space", space_sdk="docker")
    space.terminate("me/theirs")
    assert "me/theirs" in hub.spaces
    assert space.observe("me/theirs") is None
    with pytest.raises(Gone):
        space.resize("me/theirs", "l4x1")


def test_another_computers_space_is_joined_untouched(hub: HfEmulator, space: HfSpace) -> None:
    first = ask(token="first-1")
    handle = space.create(first)
    commits = len(hub.spaces[handle].repo.commits)
    again = ask(token="second-2", env={"NEW": "1"})
    assert space.create(again) == handle
    seen = space.observe(handle)
    assert seen is not None
    assert seen.token == "first-1"
    assert "NEW" not in hub.spaces[handle].variables
    assert len(hub.spaces[handle].repo.commits) == commits


def test_what_another_computer_gave_up_is_completed(hub: HfEmulator, config: HfSettings) -> None:
    space = HfSpace(config, clock=hub.clock.now)
    hub.knobs.set("commit", Fault.server_error())
    with pytest.raises(ProviderError):
        space.create(ask(token="first-1"))
    handle = space.create(ask(token="second-2"))
    assert hub.spaces[handle].stage == "NO_APP_FILE"
    hub.advance(400)
    assert space.create(ask(token="second-2")) == handle
    assert hub.spaces[handle].stage != "NO_APP_FILE"


def test_resume_brings_new_settings_and_a_new_dockerfile(
    hub: HfEmulator, space: HfSpace, project: Callable[..., Any]
) -> None:
    root = str(project("hf-space"))
    request = ask(env={"A": "1"})._replace(secrets={"S": "old"}, root=root)
    handle = space.create(request)
    wait_for_state(space, handle, BoxState.RUNNING)
    space.pause(handle)
    made = hub.spaces[handle]
    commits = len(made.repo.commits)
    fresh = BoxSpec(provider="hf-space", image="cpu", env={"A": "2"})
    request = request._replace(spec=fresh, secrets={"S": "new", "T": "t"}, hardware="l4x1")
    assert space.resume(request, handle) == handle
    assert made.variables["A"].value == "2"
    assert {key: made.secrets[key].value for key in "ST"} == {"S": "new", "T": "t"}
    assert len(made.repo.commits) == commits
    assert wait_for_state(space, handle, BoxState.RUNNING).hardware == "l4x1"
    space.pause(handle)
    (project("hf-space") / "Dockerfile").write_text("FROM other\n")
    space.resume(request, handle)
    assert made.repo.files["Dockerfile"].content == b"FROM other\n"


def test_hardware_changes_with_the_ceiling_armed(hub: HfEmulator, space: HfSpace) -> None:
    handle = space.create(ask(max_uptime=Seconds(7200)))
    wait_for_state(space, handle, BoxState.RUNNING)
    space.resize(handle, "l4x1")
    seen = wait_for_state(space, handle, BoxState.RUNNING)
    assert seen.hardware == "l4x1"
    assert seen.price is not None
    assert seen.price.micro_per_hour == 13333 * 60
    made = hub.spaces[handle]
    assert (made.sleep_seconds, made.variables["DEVBOX_HARDWARE"].value) == (7200, "l4x1")
    with pytest.raises(ProviderError):
        space.resize(handle, "no-such-gpu")


def test_restart_and_factory_rebuild(hub: HfEmulator, space: HfSpace) -> None:
    handle = space.create(ask())
    wait_for_state(space, handle, BoxState.RUNNING)
    made = hub.spaces[handle]
    for factory in (False, True):
        before = len(made.history)
        space.restart(handle, factory=factory)
        wait_for_state(space, handle, BoxState.RUNNING)
        stages_since = [stage for _, stage in made.history[before:]]
        assert ("BUILDING" in stages_since) is factory


def test_volumes_reach_the_space(hub: HfEmulator, space: HfSpace) -> None:
    data = {"data": Volume("me/bucket", "/data"), "set": Volume("datasets/me/d/part", "/set")}
    handle = space.create(ask(volumes=data))
    volumes = {each["mountPath"]: each for each in hub.spaces[handle].volumes}
    assert (volumes["/data"]["type"], volumes["/data"]["source"]) == ("bucket", "me/bucket")
    assert (volumes["/set"]["type"], volumes["/set"]["path"]) == ("dataset", "part")
    assert volumes["/set"]["readOnly"] is True
    with pytest.raises(UsageError):
        space.create(ask("c", volumes={"x": Volume("me/bucket", "data")}))
    with pytest.raises(UsageError):
        space.create(ask("c", volumes={"x": Volume("s3://b", "/data")}))
    assert list(hub.spaces) == [handle]


def test_names_that_a_space_cannot_take(hub: HfEmulator, space: HfSpace) -> None:
    with pytest.raises(UsageError):
        space.create(ask(env={"A": "1"})._replace(secrets={"A": "2"}))
    with pytest.raises(UsageError):
        space.create(ask(env={"DEVBOX_TOKEN": "1"}))
    assert hub.spaces == {}
    assert space_name("a---b--c") == "devbox-a-.-.-b-.-c"
    assert repo_id(f"me/{space_name('a---b')}")
    assert space.create(ask("a--b")) == "me/devbox-a-.-b"


def test_another_accounts_token_does_not_make_a_box_lost(
    hub: HfEmulator, space: HfSpace, monkeypatch: pytest.MonkeyPatch, config: HfSettings
) -> None:
    handle = space.create(ask())
    hub.account.add_token("hf_narrow", repos=["me/other"])
    monkeypatch.setenv("HF_TOKEN", "hf_narrow")
    for call in (space.observe, space.terminate, space.pause):
        with pytest.raises(AuthError):
            call(handle)
    monkeypatch.setenv("HF_TOKEN", hub.token)
    with pytest.raises(AuthError):
        HfSpace(config).observe("someone/devbox-b")
    assert space.observe("me/devbox-never") is None


def test_a_token_that_expired_is_no_end_of_a_box(hub: HfEmulator, space: HfSpace) -> None:
    handle = space.create(ask())
    hub.account.revoke_token(hub.token)
    with pytest.raises(AuthError) as caught:
        space.observe(handle)
    assert "devbox login hf-space --again" in caught.value.fix


def test_a_broken_start_is_told_with_its_last_lines(hub: HfEmulator, space: HfSpace) -> None:
    hub.knobs.set("build", Fault.build_error("pip: no such \x1b[31mpackage", "\u202eevil"))
    handle = space.create(ask())
    seen = wait_for_state(space, handle, BoxState.FAILED)
    assert (seen.stage, seen.billed) == ("BUILD_ERROR", False)
    assert "pip: no such package\nevil" in seen.message
    assert len(seen.message) < 4000
    reads = hub.calls.routes.count("space_logs")
    space.observe(handle)
    assert hub.calls.routes.count("space_logs") == reads
    space.create(ask(token=seen.token))
    wait_for_state(space, handle, BoxState.RUNNING)


def test_listings_that_lag_hide_nothing(
    hub: HfEmulator, space: HfSpace, config: HfSettings
) -> None:
    request = ask("train", token="train-0123abcd")
    handle = space.create(request)
    hub.knobs.set("list_spaces", Fault.list_lag(60), times=None)
    assert space.find() == []
    assert [seen.handle for seen in HfSpace(config).find(request.token)] == [handle]


@pytest.mark.parametrize(
    "odd",
    [
        None,
        [],
        "x",
        {"stage": 3},
        {"stage": "NEW_STAGE", "hardware": "t4"},
        {"hardware": {"current": 1}, "volumes": 3, "gcTimeout": "x"},
    ],
)
def test_odd_runtimes_count_as_costing(odd: Any) -> None:
    runtime = stages.runtime(odd)
    assert runtime.billed
    assert runtime.state(0) is BoxState.STARTING


def test_bad_names_of_spaces() -> None:
    for bad in ("", "x", "../x", "a/b/c", "a/..", "a b/c", "a/b--c", "a" * 300 + "/b"):
        with pytest.raises(ProviderError):
            repo_id(bad)

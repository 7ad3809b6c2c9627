"""The proxy before a Docker engine: names of calls, faults before and after the effect."""

from __future__ import annotations

from collections.abc import Iterator

import docker
import pytest
import requests
from docker.errors import APIError

from tests.emulators.common import Fault
from tests.emulators.docker_proxy import DockerProxy, route
from tests.providers.docker import world
from tests.remote.sshd import wait_until


@pytest.mark.parametrize(
    ("method", "target", "name"),
    [
        ("GET", "/v1.41/containers/json?all=1", "list_containers"),
        ("POST", "/v1.41/containers/create?name=b", "create_container"),
        ("POST", "/containers/abc/start", "start_container"),
        ("GET", "/v1.41/containers/abc/json", "inspect_container"),
        ("GET", "/v1.41/containers/abc/logs?tail=1", "logs_container"),
        ("PUT", "/v1.41/containers/abc/archive?path=/", "put_archive"),
        ("DELETE", "/v1.41/containers/abc?force=1", "remove_container"),
        ("GET", "/v1.41/images/registry/name:tag/json", "inspect_image"),
        ("POST", "/v1.41/images/create?fromImage=x", "pull_image"),
        ("POST", "/v1.41/exec/abc/start", "start_exec"),
        ("GET", "/v1.41/swarm", "GET swarm"),
    ],
)
def test_calls_have_names(method: str, target: str, name: str) -> None:
    assert route(method, target) == name


@pytest.fixture
def proxy() -> Iterator[DockerProxy]:
    with DockerProxy(world.engine()) as made:
        yield made


@pytest.fixture
def space() -> Iterator[world.Space]:
    made = world.Space()
    yield made
    made.close()


def _made(proxy: DockerProxy, space: world.Space) -> str:
    client = docker.APIClient(proxy.address)
    labels = {"devbox.namespace": space.namespace}
    wanted = {"Image": world.IMAGE, "Cmd": ["sleep", "99"], "Labels": labels}
    try:
        return str(client.create_container_from_config(wanted)["Id"])
    finally:
        client.close()


def test_nothing_armed_changes_nothing(proxy: DockerProxy, space: world.Space) -> None:
    made = _made(proxy, space)
    assert [each["Id"] for each in space.containers()] == [made]
    assert proxy.calls.routes == ["version", "create_container"]
    assert [call.outcome for call in proxy.calls.records] == ["200", "201"]


def test_a_refusal_has_no_effect(proxy: DockerProxy, space: world.Space) -> None:
    proxy.knobs.set("create_container", Fault.server_error())
    with pytest.raises(APIError, match="Service unavailable"):
        _made(proxy, space)
    assert space.containers() == []


def test_a_lost_reply_has(proxy: DockerProxy, space: world.Space) -> None:
    proxy.knobs.set("create_container", Fault.reply_lost())
    with pytest.raises(requests.ConnectionError):
        _made(proxy, space)
    assert len(space.containers()) == 1


def test_a_hook_can_cut_a_call_off(proxy: DockerProxy, space: world.Space) -> None:
    proxy.calls.on_call = lambda name, phase: name != "create_container"
    with pytest.raises(requests.ConnectionError):
        _made(proxy, space)
    assert space.containers() == []
    # The proxy writes it down once it has hung up.
    wait_until(lambda: proxy.calls.records[-1].outcome == "dropped", "the call is on record")

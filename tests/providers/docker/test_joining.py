"""Two computers, other people's containers, and creates that were cut off."""

from __future__ import annotations

from pathlib import Path

import pytest

from devbox.errors import Conflict, Gone
from devbox.model import BoxState
from devbox.providers.base import Request
from devbox.providers.docker import container, observe
from devbox.providers.docker.provider import Docker
from devbox.spec import DockerSettings
from tests.contract.harness_docker import DockerHarness
from tests.emulators.common import Fault
from tests.providers.docker import world


def other_computer(harness: DockerHarness, monkeypatch: pytest.MonkeyPatch) -> Request:
    """From here on, another installation of devbox asks for the same box."""
    monkeypatch.setenv("DEVBOX_HOME", str(harness.home / "other"))
    return harness.request()


def test_another_computer_joins_a_running_box(
    harness: DockerHarness, provider: Docker, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = harness.request()
    handle = provider.create(mine)
    harness.running(provider, handle)
    theirs = other_computer(harness, monkeypatch)
    assert harness.make().create(theirs) == handle
    seen = harness.running(provider, handle)
    assert seen.token == mine.token
    with harness.login(theirs, seen) as connection:
        connection.run(["true"])
    assert harness.live() == 1


def test_another_computer_resumes_it_and_both_keep_their_way_in(
    harness: DockerHarness, provider: Docker, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = harness.request()
    handle = provider.create(mine)
    harness.running(provider, handle)
    provider.pause(handle)
    with monkeypatch.context() as elsewhere:
        theirs = other_computer(harness, elsewhere)
        assert harness.make().create(theirs) == handle
        harness.reaches(provider, handle, BoxState.PAUSED)
        again = harness.make()
        assert isinstance(again, Docker)
        again.resume(theirs, handle)
        with harness.login(theirs, harness.running(provider, handle)) as connection:
            connection.run(["true"])
    with harness.login(mine, harness.running(provider, handle)) as connection:
        connection.run(["true"])


def test_somebody_elses_container_is_left_alone(
    harness: DockerHarness, provider: Docker, space: world.Space
) -> None:
    name = container.name_of("b", space.namespace)
    wanted = {"Image": world.IMAGE, "Cmd": ["sleep", "999"]}
    theirs = space.client.create_container_from_config(wanted, name)["Id"]
    try:
        space.client.start(theirs)
        with pytest.raises(Conflict, match="did not make"):
            provider.create(harness.request())
        assert provider.observe(theirs) is None
        provider.terminate(theirs)
        with pytest.raises(Gone):
            provider.pause(theirs)
        assert space.inspect(theirs)["State"]["Running"]
    finally:
        space.client.remove_container(theirs, force=True)


def test_what_a_dead_computer_never_started_is_made_anew(
    harness: DockerHarness, provider: Docker, space: world.Space
) -> None:
    harness.proxy.knobs.set("put_archive", Fault.error(400), times=1)
    with pytest.raises(Exception, match="400"):
        provider.create(harness.request())
    (left,) = space.containers()
    fresh = harness.request()
    assert provider.create(fresh) == left["Id"]  # whoever made it may be at it still
    seen = provider.observe(left["Id"])
    assert seen is not None
    assert seen.state is BoxState.PROVISIONING
    config = DockerSettings(docker_host=harness.proxy.address, namespace=space.namespace)
    later = Docker(config, clock=lambda: observe.moment(_made(space)) + observe.ABANDONED + 1)  # type: ignore[operator]
    assert (old := later.observe(left["Id"])) is not None
    assert old.state is BoxState.FAILED
    handle = later.create(fresh)
    assert handle != left["Id"]
    assert harness.running(provider, handle).token == fresh.token
    assert len(space.containers()) == 1


def _made(space: world.Space) -> str:
    (only,) = space.containers()
    return str(space.inspect(only["Id"])["Created"])


def test_frozen_by_hand_it_costs_and_a_resume_wakes_it(
    harness: DockerHarness, provider: Docker, space: world.Space
) -> None:
    request = harness.request()
    handle = provider.create(request)
    harness.running(provider, handle)
    space.client.pause(handle)
    seen = harness.reaches(provider, handle, BoxState.PAUSED)
    assert seen.billed
    assert "docker pause" in seen.message
    provider.resume(request, handle)
    harness.running(provider, handle)
    space.client.pause(handle)
    provider.pause(handle)
    assert not harness.reaches(provider, handle, BoxState.PAUSED).billed


def test_name_spaces_do_not_see_each_other(
    harness: DockerHarness, provider: Docker, home: Path
) -> None:
    handle = provider.create(harness.request())
    stranger = Docker(DockerSettings(docker_host=harness.proxy.address, namespace="elsewhere"))
    assert stranger.observe(handle) is None
    assert stranger.find() == []
    stranger.terminate(handle)
    harness.running(provider, handle)

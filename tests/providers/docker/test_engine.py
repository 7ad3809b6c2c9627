"""Finding the engine, reaching it through ssh, and what is said when it cannot be reached."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devbox import lifecycle
from devbox.errors import (
    AuthError,
    Conflict,
    DevboxError,
    Gone,
    ProviderError,
    SpecError,
    ToolMissing,
    Unavailable,
)
from devbox.model import BoxState
from devbox.providers import registry
from devbox.providers.base import Provider
from devbox.providers.docker import hardware
from devbox.providers.docker.answers import Info
from devbox.providers.docker.engine import Engine
from devbox.providers.docker.errors import InProgress
from devbox.remote import keys
from devbox.remote.connection import connect
from devbox.spec import DockerSettings
from tests.contract.harness_docker import DockerHarness
from tests.emulators.common import Fault
from tests.providers.docker import world
from tests.providers.docker.conftest import Open
from tests.remote.sshd import Sshd, free_port


def provider_at(host: str) -> Provider:
    return registry.load("docker", DockerSettings(docker_host=host))


def test_no_engine_says_how_to_start_one(home: Path) -> None:
    with pytest.raises(ProviderError, match="no Docker engine at unix:") as caught:
        provider_at(f"unix://{home}/none.sock").offers()
    assert "systemctl start docker" in caught.value.fix
    assert type(caught.value) is ProviderError
    ((level, what, fix),) = provider_at(f"unix://{home}/none.sock").checks()
    assert level == "fail"
    assert "no Docker engine" in what
    assert fix


def test_an_engine_that_does_not_answer_may_be_asked_again() -> None:
    with pytest.raises(Unavailable, match="does not answer"):
        provider_at(f"tcp://127.0.0.1:{free_port()}").observe("0" * 64)


@pytest.mark.parametrize("host", ["ssh://", "ssh://a b", "ssh://-oX=1", "ssh://h/p?x", "ftp://h"])
def test_an_address_that_is_none(host: str) -> None:
    with pytest.raises(DevboxError) as caught:
        provider_at(host).offers()
    assert type(caught.value) in (SpecError, ProviderError)


def test_a_far_engine_without_ssh_is_refused_before_anything_is_made(
    harness: DockerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devbox.providers.docker.engine._LOOPBACK", ())
    with pytest.raises(SpecError, match="own loopback only") as caught:
        harness.make().create(harness.request())
    assert "ssh://" in caught.value.fix
    assert harness.proxy.calls.routes == []


def test_without_the_client_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "docker", None)
    with pytest.raises(ToolMissing, match="docker client") as caught:
        provider_at("").offers()
    assert "[docker]" in caught.value.fix


def test_the_environment_names_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", world.engine())
    (offer, *_) = provider_at("").offers()
    assert offer.hardware.name == "cpu"
    assert offer.hardware.memory > 0
    assert offer.price.micro_per_hour == 0


def test_the_current_context_names_the_engine(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from docker.context import ContextAPI

    monkeypatch.delenv("DOCKER_HOST", raising=False)
    file = home / ".docker" / "config.json"
    file.parent.mkdir()
    file.write_text('{"currentContext": "lab"}')
    ContextAPI.create_context("lab", host=world.engine())
    engine = Engine()
    assert engine.call("asking", lambda api: api.ping())
    assert engine.address == world.engine()


@pytest.mark.parametrize("config", ['{"currentContext": "lab"}', "{}", ""])
def test_a_context_that_is_not_there_is_not_another_engine(
    home: Path, monkeypatch: pytest.MonkeyPatch, config: str
) -> None:
    """Nor one that a folder someone else wrote describes."""
    from docker.context import ContextAPI

    file = home / ".docker" / "config.json"
    file.parent.mkdir()
    monkeypatch.chdir(home)
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    ContextAPI.create_context("lab", host=world.engine())
    assert (home / "contexts").is_dir()  # the client's way without a config file
    if config:
        file.write_text(config)
    if "lab" not in config:
        monkeypatch.setenv("DOCKER_CONTEXT", "lab")
    with pytest.raises(ProviderError, match="no docker context 'lab'") as caught:
        Engine().call("asking", lambda api: api.ping())
    assert "docker context ls" in caught.value.fix
    assert "docker_host" in caught.value.fix


@pytest.mark.parametrize(
    ("status", "said", "kind"),
    [
        (400, "invalid", ProviderError),
        (401, "who", AuthError),
        (404, "gone", Gone),
        (409, "taken", Conflict),
        (409, "removal of container x is already in progress", InProgress),
        (429, "slow down", Unavailable),
        (500, "oops", Unavailable),
        (503, "starting", Unavailable),
        (500, "could not select device driver nvidia", ProviderError),
        (500, "write /x: no space left on device", ProviderError),
    ],
)
def test_what_an_engine_refuses_is_told_apart(
    harness: DockerHarness, status: int, said: str, kind: type[DevboxError]
) -> None:
    engine = Engine(harness.proxy.address)
    harness.proxy.knobs.set("info", Fault.error(status, said, retry_after=7))
    with pytest.raises(kind) as caught:
        engine.call("asking it", lambda api: api.info())
    assert type(caught.value) is kind
    assert said in caught.value.what
    assert caught.value.fix
    if isinstance(caught.value, Unavailable):
        assert caught.value.retry_after == 7


def test_gpus_are_offered_where_the_runtime_is() -> None:
    info: Info = {"Runtimes": {"nvidia": {}, "runc": {}}, "NCPU": 8, "MemTotal": 1 << 34}
    assert hardware.check("gpu", info) == "gpu"

    class Far(Engine):
        def call(self, doing: str, action: Any) -> Any:
            return info

    cpu, gpu = hardware.detect(Far("ssh://lab"))
    assert (cpu.name, gpu.name, gpu.gpus, gpu.cpus) == ("cpu", "gpu", 1, 8)


@pytest.fixture
def lab(home: Path) -> Iterator[Sshd]:
    """The machine of an engine behind ssh, where `docker` works. Started once: a port that is let
    go may be another's by the next start."""
    settings = f'SetEnv "DOCKER_HOST={world.engine()}" "HOME={home}"\n'
    made = Sshd(home / "lab", settings=settings)
    yield made
    made.stop()


@pytest.fixture
def far(lab: Sshd, home: Path) -> str:
    """Its address, by the user's own ssh."""
    own = home / ".ssh"
    own.mkdir(mode=0o700, exist_ok=True)
    key = own / "id_person"
    key.write_text(keys.new_host_key()[0])
    key.chmod(0o600)
    os.system(f"ssh-keygen -y -f {key} > {key}.pub")
    lab.authorise(key.with_name("id_person.pub").read_text().strip())
    (own / "known_hosts").write_text(f"[127.0.0.1]:{lab.port} {lab.host_key}\n")
    (own / "config").write_text(
        f"Host lab\n HostName 127.0.0.1\n Port {lab.port}\n User {getpass.getuser()}\n"
        f" IdentityFile {key}\n UserKnownHostsFile {own}/known_hosts\n"
    )
    return "ssh://lab"


def test_a_box_on_an_engine_behind_ssh(project: Open, far: str, space: world.Space) -> None:
    ws = project(host=far)
    box = lifecycle.up(ws, "b")
    assert box.state is BoxState.RUNNING
    with connect(box) as connection:
        assert connection.run(["printenv", "FROM_IMAGE"]).out == "yes\n"
    (row,) = space.containers(every=False)
    assert row["Id"] == box.handle
    assert lifecycle.pause(ws, box).state is BoxState.PAUSED
    assert lifecycle.down(ws, box).state is BoxState.TERMINATED
    assert space.containers() == []


def test_an_ssh_that_is_refused_says_so(far: str, lab: Sshd) -> None:
    lab.authorise()
    with pytest.raises(AuthError, match="Permission denied") as caught:
        provider_at(far).offers()
    assert "ssh://lab" in caught.value.fix
    lab.stop()
    with pytest.raises(Unavailable, match="Connection refused"):
        provider_at(far).offers()

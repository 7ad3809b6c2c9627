"""A build on an engine behind ssh, secrets and all: its session goes through the same tunnel."""

from __future__ import annotations

import getpass
import shutil
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from devbox import paths
from devbox.images import build
from devbox.providers.docker.engine import Engine as Connection
from tests.images.conftest import MakePlan
from tests.images.engine import Engine
from tests.remote.sshd import Sshd

pytestmark = pytest.mark.xdist_group("docker")


@pytest.fixture
def far(engine: Engine, home: Path) -> Iterator[Connection]:
    """The engine as a machine behind ssh has it, by the user's own ssh."""
    lab = Sshd(home / "lab", settings=f'SetEnv "DOCKER_HOST={engine.host}" "HOME={home}"\n')
    own = home / ".ssh"
    own.mkdir(mode=0o700)
    for file in (paths.identity(), paths.identity().with_suffix(".pub")):
        shutil.copy(file, own / file.name)
    (own / "known_hosts").write_text(f"[127.0.0.1]:{lab.port} {lab.host_key}\n")
    (own / "config").write_text(
        f"Host lab\n HostName 127.0.0.1\n Port {lab.port}\n User {getpass.getuser()}\n"
        f" IdentityFile {own / paths.identity().name}\n UserKnownHostsFile {own / 'known_hosts'}\n"
    )
    yield Connection("ssh://lab")
    lab.stop()


def test_a_build_on_an_engine_behind_ssh(
    far: Connection, client: docker.DockerClient, dockerfile_plan: MakePlan, root: Path
) -> None:
    (root / "data.bin").write_bytes(b"x" * 300_000)
    wanted = dockerfile_plan(
        "COPY . /app",
        "RUN --mount=type=secret,id=t test $(cat /run/secrets/t) = word"
        " && test $(wc -c </app/data.bin) = 300000",
    )
    made = far.call(
        "building", lambda api: build.build(api, wanted, secrets={"t": "word"}, again=True)
    )
    assert made.fresh
    assert client.images.get(made.reference).id == made.id

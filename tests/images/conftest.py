"""Images of these tests: built on the engine fixture, from the base made on this machine."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import ImageNotFound

from devbox.images import build
from devbox.images import plan as planning
from devbox.images.plan import Plan
from devbox.model import Box, Endpoint
from devbox.remote import keys
from tests.images.engine import Engine
from tests.remote.sshd import make_box, wait_until

#: what stands for a CUDA base: Python is the base's own, of the one version it has
PYTHON = "3.11"
MakePlan = Callable[..., Plan]


@pytest.fixture
def client(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[docker.DockerClient]:
    """Of the engine. What the test builds is gone after it; the engine's cache keeps the layers."""
    opened = engine.client()
    made: set[str] = set()

    def noted(api: Any, wanted: Plan, **options: Any) -> build.Built:
        found = _build(api, wanted, **options)
        if found.fresh:
            made.add(found.reference)
        return found

    monkeypatch.setattr(build, "build", noted)
    yield opened
    for reference in made:
        with suppress(ImageNotFound):
            opened.images.remove(reference, force=True)
    opened.close()


_build = build.build


@pytest.fixture
def root(home: Path) -> Path:
    """A project's folder."""
    folder = home / "project"
    folder.mkdir()
    (folder / "main.py").write_text("print('hello')\n")
    return folder


@pytest.fixture
def dockerfile_plan(engine: Engine, root: Path) -> MakePlan:
    """plan(lines…): of a Dockerfile of the base image and these lines, in the project's folder."""

    def make(*lines: str, **options: Any) -> Plan:
        text = "\n".join([f"FROM {engine.base}", *lines, ""])
        (root / "Dockerfile").write_text(text)
        return planning.plan("./Dockerfile", root, project="test", **options)

    return make


@contextmanager
def started(client: docker.DockerClient, image: str, port: int = 2222) -> Iterator[Box]:
    """A container of an image made here, as a box that this test's identity may log in to. Its
    host key comes out of the container, not over the network."""
    made = client.containers.create(image, ports={f"{port}/tcp": ("127.0.0.1", 0)}, init=True)
    try:
        place = "/home/user/.devbox-ssh"
        made.put_archive("/home/user", _login(keys.ensure_identity()))
        made.start()
        wait_until(lambda: _listens(made), f"sshd of {image} listens", 60)
        made.reload()
        stream, _ = made.get_archive(f"{place}/host_key.pub")
        with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as tar:
            file = tar.extractfile("host_key.pub")
            assert file is not None
            line = " ".join(file.read().decode().split()[:2])
        published = int(made.ports[f"{port}/tcp"][0]["HostPort"])
        yield make_box("inside", Endpoint("127.0.0.1", published, "user", (line,)), "docker")
    finally:
        made.remove(force=True)


def _listens(container: Any) -> bool:
    container.reload()
    assert container.status in ("created", "running"), container.logs().decode()
    return b"Server listening" in container.logs()


def _login(public_key: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, data in (("", b""), ("/authorized_keys", f"{public_key}\n".encode())):
            entry = tarfile.TarInfo(f".devbox-ssh{name}")
            entry.uid = entry.gid = 1000
            entry.type = tarfile.REGTYPE if name else tarfile.DIRTYPE
            entry.mode, entry.size = 0o600 if name else 0o700, len(data)
            tar.addfile(entry, io.BytesIO(data))
    return packed.getvalue()

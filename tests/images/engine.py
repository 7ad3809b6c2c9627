"""A real Docker engine for tests, and a base image made on this machine.

One engine serves every worker and every suite that runs at the time: they register as holders, and
a keeper process (tests/images/keeper.py) ends dockerd when the last holder is gone, also when it
was killed. An engine without its bridge is started again by the next process that asks for it.
Layers and the base image stay in ~/.cache/devbox-tests between runs. A machine whose own engine
answers is used as it is.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import docker
import psutil
import pytest
from docker.errors import DockerException, ImageNotFound
from filelock import FileLock

RUN = Path("/tmp/devbox-tests-engine")  # short: it holds unix sockets
SOCKET = RUN / "docker.sock"
LOG = RUN / "dockerd.log"
BASE = "devbox-tests/base:bookworm"
_SUITE = "bookworm"
_CA = "etc/ssl/certs/ca-certificates.crt"
_BRIDGE = "docker0"
_START = 60.0  # seconds dockerd may take
_STOP = 60.0  # seconds dockerd may take to stop its containers


class Engine(NamedTuple):
    """host: for DOCKER_HOST or docker.DockerClient(base_url=…). base: reference of a Debian with
    nothing but apt and CA certificates, in that engine."""

    host: str
    base: str

    def client(self) -> docker.DockerClient:
        return docker.DockerClient(base_url=self.host, timeout=600)


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """An engine that holds the base image."""
    with with_base() as found:
        yield found


@contextmanager
def with_base() -> Iterator[Engine]:
    """The engine, while the context holds, with the base image in it."""
    with running() as host:
        found = Engine(host, BASE)
        with FileLock(_cache() / "base.lock"):
            _import_base(found)
        yield found


@contextmanager
def running() -> Iterator[str]:
    """The address of an engine that runs at least as long as the context."""
    theirs = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    if _answers(theirs):
        yield theirs
        return
    RUN.mkdir(exist_ok=True)
    (RUN / "holders").mkdir(exist_ok=True)
    mine = RUN / "holders" / holder_name(psutil.Process())
    host = f"unix://{SOCKET}"
    with FileLock(RUN / "lock"):
        mine.touch()
        answers = _answers(host)
        if answers and not has_bridge():
            stop(psutil.Process(int((RUN / "dockerd.pid").read_text())))
            answers = False
        if not answers:
            _start(host)
    try:
        yield host
    finally:
        mine.unlink(missing_ok=True)


def holder_name(process: psutil.Process) -> str:
    """Tells a process from a later one of the same number."""
    return f"{process.pid}-{process.create_time():.2f}"


def has_bridge() -> bool:
    """Whether containers that start now get a network."""
    return any(name == _BRIDGE for _, name in socket.if_nameindex())


def stop(daemon: psutil.Process) -> None:
    """End our dockerd. It stays a zombie until its keeper looks, which waits for our lock."""
    daemon.terminate()
    deadline = time.monotonic() + _STOP
    while daemon.is_running() and daemon.status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            daemon.kill()
        time.sleep(0.05)
    # dockerd leaves its network namespace mounted, once more with every start.
    subprocess.run(["umount", str(RUN / "exec" / "netns" / "default")], check=False)
    SOCKET.unlink(missing_ok=True)


def data_root() -> Path:
    return _cache() / "docker"


def _start(host: str) -> None:
    if os.getuid() != 0 or not shutil.which("dockerd"):
        pytest.fail("no Docker engine: start one, or run as root with docker.io installed")
    with LOG.open("ab") as log:
        subprocess.Popen(
            [sys.executable, "-m", "tests.images.keeper"],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    deadline = time.monotonic() + _START
    while not _answers(host):
        if time.monotonic() > deadline:
            pytest.fail(f"dockerd did not start:\n{LOG.read_text()[-2000:]}")
        time.sleep(0.1)


def _answers(host: str) -> bool:
    try:
        client = docker.DockerClient(base_url=host, timeout=10)
    except DockerException:
        return False
    try:
        return bool(client.ping())
    except (DockerException, OSError):
        return False
    finally:
        client.close()


def _import_base(engine: Engine) -> None:
    client = engine.client()
    try:
        client.images.get(engine.base)
    except ImageNotFound:
        name, tag = engine.base.split(":")
        client.api.import_image(src=str(_base_archive()), repository=name, tag=tag)
    finally:
        client.close()


def _base_archive() -> Path:
    """A tar of a small Debian, from the mirror this machine's apt uses. It trusts the
    certificates this machine trusts, so that pip works inside as it does here."""
    archive = _cache() / f"base-{_SUITE}.tar"
    if archive.is_file():
        return archive
    folder = _cache() / f"base-{_SUITE}"
    shutil.rmtree(folder, ignore_errors=True)
    command = ["debootstrap", "--variant=minbase", "--include=ca-certificates", _SUITE, str(folder)]
    subprocess.run([*command, *_mirror()], check=True, timeout=900, stdout=subprocess.DEVNULL)
    shutil.copyfile(f"/{_CA}", folder / _CA)
    part = archive.with_suffix(".part")
    without = ["--exclude=./var/cache/apt/archives/*.deb", "--exclude=./var/lib/apt/lists/*"]
    subprocess.run(["tar", "-C", str(folder), *without, "-cf", str(part), "."], check=True)
    part.rename(archive)
    shutil.rmtree(folder)
    return archive


def _mirror() -> list[str]:
    """Where this machine's apt gets the suite, if it does; else debootstrap's own choice."""
    asked = ["Created-By: Packages", f"Codename: {_SUITE}", "Component: main"]
    found = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", *asked],
        check=True,
        capture_output=True,
        text=True,
    )
    return found.stdout.split()[:1]


def _cache() -> Path:
    """Of the user, not of a test's HOME."""
    path = Path(pwd.getpwuid(os.getuid()).pw_dir) / ".cache" / "devbox-tests"
    path.mkdir(parents=True, exist_ok=True)
    return path

"""An emulated workspace and the real client pointed at it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import modal
import pytest

from tests.emulators.common import Clock
from tests.emulators.modal import ModalEmulator, Stages

INSTANT = Stages(image_build=0.0, scheduling=0.0, stopping=0.0, snapshot=0.0)
SSHD = (
    "mkdir -p /run/sshd && umask 077 && printf '%s\\n' \"$AUTHORIZED\" >/root/.ssh/authorized_keys"
    " && printf '%s\\n' \"$HOST_KEY\" >/etc/ssh/box_key"
    " && exec /usr/sbin/sshd -D -e -p 22 -h /etc/ssh/box_key"
)
LIMIT = 20.0


@pytest.fixture
def emulator() -> Iterator[ModalEmulator]:
    """A workspace whose time only the test moves. Nothing unexpected may have been asked of it."""
    with ModalEmulator(clock=Clock.manual(time.time()), stages=INSTANT) as emulator:
        yield emulator
    assert emulator.unexpected == []


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[ModalEmulator], modal.Client]]:
    """Opens a client of one emulator; the client's own process-wide one is never used."""
    opened: list[modal.Client] = []

    def connect(emulator: ModalEmulator) -> modal.Client:
        for key, value in emulator.env().items():
            monkeypatch.setenv(key, value)
        client = modal.Client.from_credentials("ak-test", "as-test")
        opened.append(client)
        return client

    yield connect
    for client in opened:
        client.close()


@pytest.fixture
def client(emulator: ModalEmulator, connect: Callable[[ModalEmulator], Any]) -> modal.Client:
    """The real client."""
    opened: modal.Client = connect(emulator)
    return opened


class Workspace:
    """What tests do with a client."""

    def __init__(self, client: modal.Client, image: modal.Image | None = None) -> None:
        self.client = client
        self.app = modal.App.lookup("boxes", create_if_missing=True, client=client)
        self.image = image or modal.Image.debian_slim()

    def create(self, *command: str, **options: Any) -> modal.Sandbox:
        """A GPU sandbox that sleeps, unless told otherwise; ``gpu=None``: second generation."""
        options = {"gpu": "T4", "image": self.image, **options}
        return modal.Sandbox.create(
            *(command or ("sleep", "3600")), app=self.app, client=self.client, **options
        )

    def list(self, **filters: Any) -> list[str]:
        app_id = self.app.app_id
        found = modal.Sandbox.list(app_id=app_id, client=self.client, **filters)
        return [sandbox.object_id for sandbox in found]


@pytest.fixture
def workspace(client: modal.Client) -> Workspace:
    return Workspace(client)


def output(sandbox: modal.Sandbox, *command: str, **options: Any) -> str:
    """What a command inside prints; it must succeed."""
    process = sandbox.exec(*command, **options)
    text, errors = process.stdout.read(), process.stderr.read()
    assert process.wait() == 0, errors
    return str(text)


def until(condition: Callable[[], bool], limit: float = LIMIT) -> None:
    """Poll until ``condition`` holds."""
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


class Ssh:
    """The real ssh client with a key of its own and the box's pinned host key."""

    def __init__(self, home: Path) -> None:
        self.key, self.host_key = home / "login", home / "box"
        for key in (self.key, self.host_key):
            make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(key)]
            subprocess.run(make, check=True)
        self.known = home / "known_hosts"

    @property
    def secret(self) -> modal.Secret:
        """What the entrypoint ``SSHD`` needs."""
        public = self.key.with_suffix(".pub").read_text().strip()
        private = self.host_key.read_text().strip()
        return modal.Secret.from_dict({"AUTHORIZED": public, "HOST_KEY": private})

    def command(self, address: tuple[str, int], *words: str) -> list[str]:
        host, port = address
        self.known.write_text(f"[{host}]:{port} {self.host_key.with_suffix('.pub').read_text()}")
        return [
            *("ssh", "-F", "none", "-i", str(self.key), "-p", str(port), "-o", "BatchMode=yes"),
            *("-o", f"UserKnownHostsFile={self.known}", "-o", "StrictHostKeyChecking=yes"),
            *("-o", "IdentitiesOnly=yes", f"root@{host}", *words),
        ]

    def run(self, address: tuple[str, int], *words: str) -> str:
        """What a command prints; tried again while the box does not listen yet."""
        deadline = time.monotonic() + LIMIT
        while True:
            done = subprocess.run(
                self.command(address, *words), capture_output=True, text=True, check=False
            )
            if done.returncode == 0:
                return done.stdout
            assert done.returncode == 255, done.stderr
            assert time.monotonic() < deadline, done.stderr


@pytest.fixture
def ssh(tmp_path: Path) -> Ssh:
    return Ssh(tmp_path)

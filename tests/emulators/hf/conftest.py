"""An emulated Hub and the real client pointed at it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, HfApi, SpaceHardware, constants

from tests.emulators.common import Clock
from tests.emulators.hf import HfEmulator, Times

README = b"---\ntitle: Box\nsdk: docker\ntags:\n- devbox\n---\n"
DOCKERFILE = b"FROM python:3.11\nRUN apt-get update\nCMD sleep infinity\n"
TIMES = Times(build=20.0, start=10.0, schedule=5.0)

Files = dict[str, bytes]
Push = Callable[..., None]


@pytest.fixture(autouse=True)
def _isolated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.delenv("HF_TOKEN", raising=False)


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[HfEmulator]:
    """A Hub whose time only the test moves. Nothing unexpected may have been asked of it."""
    with HfEmulator(clock=Clock.manual(), times=TIMES, state_dir=tmp_path / "hub") as emulator:
        yield emulator
    assert emulator.unexpected == []


@pytest.fixture
def api(emulator: HfEmulator) -> HfApi:
    """The real client."""
    return HfApi(endpoint=emulator.endpoint, token=emulator.token)


@pytest.fixture
def push(api: HfApi) -> Push:
    """Commit files to a Space."""

    def commit(repo_id: str, files: Files | None = None) -> None:
        files = {"README.md": README, "Dockerfile": DOCKERFILE} if files is None else files
        api.create_commit(
            repo_id,
            [CommitOperationAdd(path, content) for path, content in files.items()],
            commit_message="files",
            repo_type="space",
        )

    return commit


@pytest.fixture
def running(api: HfApi, emulator: HfEmulator, push: Push) -> str:
    """A Space in Dev Mode on a T4, up since now; its id."""
    api.create_repo(
        "me/box",
        repo_type="space",
        space_sdk="docker",
        space_hardware=SpaceHardware.T4_SMALL,
        private=True,
    )
    api.enable_space_dev_mode("me/box")
    push("me/box")
    emulator.advance(TIMES.build + TIMES.start)
    return "me/box"


class Ssh:
    """The real ssh client with a key that the account may know."""

    def __init__(self, home: Path, emulator: HfEmulator) -> None:
        self.key = home / "id"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key], check=True)
        self.public_key = self.key.with_suffix(".pub").read_text()
        host, port = emulator.gateway_host_port.split(":")
        known = home / "known_hosts"
        known.write_text(f"[{host}]:{port} {emulator.gateway.host_key_line}\n")
        self.command = [
            *("ssh", "-F", "none", "-i", str(self.key), "-p", port, "-o", "BatchMode=yes"),
            *("-o", f"UserKnownHostsFile={known}", "-o", "StrictHostKeyChecking=yes"),
            *("-o", "IdentitiesOnly=yes"),
        ]
        self.host = host

    def start(self, user: str, command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self.command, f"{user}@{self.host}", command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, user: str, command: str) -> tuple[int, str, str]:
        """Exit status, output, error output."""
        client = self.start(user, command)
        out, err = client.communicate(timeout=60)
        return client.returncode, out, err


@pytest.fixture
def ssh(tmp_path: Path, emulator: HfEmulator) -> Ssh:
    """ssh to the gateway; its key is registered with the account."""
    ssh = Ssh(tmp_path, emulator)
    assert emulator.account.ssh_keys is not None
    emulator.account.ssh_keys.append(ssh.public_key)
    return ssh

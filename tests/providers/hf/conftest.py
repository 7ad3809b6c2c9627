"""An emulated Hub in real time, the providers on it, and a project that uses them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from devbox import spec
from devbox.model import BoxState
from devbox.providers.base import Observation, Provider
from devbox.providers.hf.job import HfJob
from devbox.providers.hf.space import HfSpace
from devbox.remote import keys
from devbox.spec import HfSettings
from tests import warm
from tests.boxes import wait_for_state
from tests.emulators.hf import HfEmulator, Times

PAUSE_TOKEN = "hf_only_for_this_space"
TOML = """\
project = "p"
[boxes.train]
provider = "{provider}"
hardware = "t4-small"
{box}
[providers.hf]
ssh_gateway = "{gateway}"
{hf}
"""
Devbox = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def hub(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HfEmulator]:
    """Short stages; the account knows devbox's own key. Nothing unexpected may be asked."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    with HfEmulator(times=Times(0.1, 0.1, 0.1), state_dir=home / "hub") as hub:
        for key, value in hub.env().items():
            monkeypatch.setenv(key, value)
        monkeypatch.setenv("PAUSE_TOKEN_OF_TEST", PAUSE_TOKEN)
        assert hub.account.ssh_keys is not None
        hub.account.ssh_keys.append(keys.ensure_identity())
        yield hub
    assert hub.unexpected == []


@pytest.fixture
def config(hub: HfEmulator) -> HfSettings:
    return HfSettings(ssh_gateway=hub.gateway_host_port)


@pytest.fixture
def space(hub: HfEmulator, config: HfSettings) -> HfSpace:
    return HfSpace(config, clock=hub.clock.now)


@pytest.fixture
def job(hub: HfEmulator, config: HfSettings) -> HfJob:
    return HfJob(config, clock=hub.clock.now)


@pytest.fixture
def project(hub: HfEmulator, home: Path) -> Callable[..., Path]:
    """project("hf-space", box="…", hf="…") → a folder with devbox.toml and some code."""

    def make(provider: str, box: str = "", hf: str = "") -> Path:
        folder = home / "project"
        folder.mkdir(exist_ok=True)
        text = TOML.format(provider=provider, box=box, hf=hf, gateway=hub.gateway_host_port)
        (folder / "devbox.toml").write_text(text)
        spec.trust_file(folder / "devbox.toml")
        (folder / "main.py").write_text("print('hello')\n")
        return folder

    return make


@pytest.fixture
def devbox() -> Devbox:
    """devbox(folder, "up", …) runs the real command line in a process of its own."""

    def run(folder: Path, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = warm.run(
            [sys.executable, "-m", "devbox.cli.main", *words],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
            check=False,
        )
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return run


def reach(provider: Provider, handle: str, state: BoxState) -> Observation:
    return wait_for_state(provider, handle, state)

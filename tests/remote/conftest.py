"""The real server, for every test of this folder; a box of it that is tracked, and `devbox` as a
user types it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from devbox.model import Box
from devbox.remote.config import ssh_config
from devbox.state.store import Store
from tests import warm
from tests.boxes import rewrite
from tests.remote.sshd import Sshd, sshd

__all__ = ["DEVBOX", "box", "change", "devbox", "sshd", "track"]

DEVBOX = [sys.executable, "-m", "devbox.cli.main"]


@pytest.fixture
def box(sshd: Sshd, home: Path, monkeypatch: pytest.MonkeyPatch) -> Box:
    """A tracked, published, running box; the current folder is the empty HOME."""
    monkeypatch.chdir(home)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    box = sshd.box()
    track(box)
    ssh_config.publish([box])
    return box


def track(box: Box) -> None:
    store = Store.open()
    store.boxes.insert(box, "running", {}, 1.0)
    store.close()


def change(box: Box, **fields: object) -> None:
    store = Store.open()
    rewrite(store, msgspec.structs.replace(box, **fields))
    store.close()


def devbox(*argv: str, input: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    return warm.run(
        [*DEVBOX, *argv], capture_output=True, timeout=60, check=False, input=input or b""
    )

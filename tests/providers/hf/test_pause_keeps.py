"""A pause of a Space keeps no disk: it asks and fetches first, and with nobody looking its watchdog
saves into a volume or says what is lost."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.emulators.hf import HfEmulator
from tests.providers.hf.conftest import PAUSE_TOKEN, Devbox

Project = Callable[..., Path]
TOKEN = 'pause_token = "env:PAUSE_TOKEN_OF_TEST"'
#: Soon idle, whatever else this machine does.
IDLE = 'idle = {after = "6s", warn = "4s", cpu_util = 1000, net_bytes = "1TB"}\n'
EDIT = (
    "echo edited >> app/main.py; echo new > app/new.txt; echo w > app/w.pt; "
    "mkdir -p data; echo d > data/set.bin"
)


def until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_pause_names_what_it_loses_asks_and_fetches_first(
    hub: HfEmulator, devbox: Devbox, project: Project
) -> None:
    folder = project("hf-space")
    (folder / ".gitignore").write_text("*.pt\n")
    devbox(folder, "up")
    devbox(folder, "sync", "up")
    devbox(folder, "exec", "train", "sh", "-c", EDIT)
    refused = devbox(folder, "pause", code=2).stderr
    assert "1 file newer on it than here" in refused
    assert "1 file only on it" in refused
    assert "1 file left out of syncs by ignore files" in refused
    assert "data/set.bin" in refused
    assert re.search(r"Pause train\? It keeps none of its files, losing \d+ files\.", refused)
    assert hub.meter.billing() == ["me/devbox-train"]
    devbox(folder, "pause", "--yes")
    assert hub.meter.billing() == []
    assert (folder / "main.py").read_text() == "print('hello')\nedited\n"
    assert (folder / "new.txt").read_text() == "new\n"
    assert not (folder / "w.pt").exists()
    told = devbox(folder, "status").stdout
    assert "the pause kept none of its files" in told
    devbox(folder, "resume")
    devbox(folder, "exec", "train", "sh", "-c", "echo again > app/w.pt")
    devbox(folder, "pause", "--yes", "--fetch-ignored")
    assert (folder / "w.pt").read_text() == "again\n"
    devbox(folder, "down", "--yes")


@pytest.mark.slow
def test_an_idle_pause_with_nobody_looking_copies_into_the_volume(
    hub: HfEmulator, devbox: Devbox, project: Project, home: Path
) -> None:
    """The emulator mounts below the box's home; the link gives the box the same absolute path."""
    hub.account.add_token(PAUSE_TOKEN, repos=["me/devbox-train"])
    kept, mount = home / "hub" / "volumes" / "buckets" / "me" / "data", home / "mounted"
    kept.mkdir(parents=True)
    mount.symlink_to(kept)
    volume = f'volumes.data = {{source = "me/data", mount = "{mount}"}}\n'
    folder = project("hf-space", box=IDLE + volume, hf=TOKEN)
    devbox(folder, "up")
    devbox(folder, "sync", "up")
    devbox(folder, "exec", "train", "sh", "-c", EDIT)
    until(lambda: hub.meter.billing() == [])
    # A pause that was called off while this machine was busy has left a copy, too.
    copies = [each for each in (kept / "devbox-saved" / "train").iterdir() if each.is_dir()]
    copy = max(copies, key=lambda each: each.name)
    assert (copy / "work" / "new.txt").read_text() == "new\n"
    assert (copy / "work" / "w.pt").read_text() == "w\n"
    assert (copy / "work" / "main.py").read_text().endswith("edited\n")
    assert f"only its volumes: {mount} (me/data)" in devbox(folder, "status").stdout
    told = devbox(folder, "resume").stderr
    assert f"copied to {mount}/devbox-saved/train/" in told
    devbox(folder, "down", "--yes")


@pytest.mark.slow
def test_an_idle_pause_without_a_volume_warns_and_status_says_what_is_lost(
    hub: HfEmulator, devbox: Devbox, project: Project
) -> None:
    hub.account.add_token(PAUSE_TOKEN, repos=["me/devbox-train"])
    folder = project(
        "hf-space", box=IDLE.replace('"6s"', '"12s"').replace('"4s"', '"9s"'), hf=TOKEN
    )
    devbox(folder, "up")
    devbox(folder, "sync", "up")
    devbox(folder, "exec", "train", "sh", "-c", EDIT)
    until(lambda: "WILL BE LOST: the pause keeps no disk" in devbox(folder, "status").stdout)
    until(lambda: hub.meter.billing() == [])
    told = devbox(folder, "status").stdout
    assert "the pause kept none of its files" in told
    assert "is lost" in told
    devbox(folder, "down", "--yes")

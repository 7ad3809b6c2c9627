"""Two DEVBOX_HOMEs with one box name: each `ssh devbox-…` reaches the box of its own home."""

from __future__ import annotations

import subprocess
from pathlib import Path

import msgspec
import pytest

from devbox.model import Box
from devbox.remote.config import include, other_homes, ssh_config
from devbox.state.store import Store
from tests.remote.sshd import box_at
from tests.remote.test_config import KEY


def a_box_of(home: Path, monkeypatch: pytest.MonkeyPatch, port: int) -> Box:
    """Box `a` of that DEVBOX_HOME, made, published and included as `up` does it."""
    monkeypatch.setenv("DEVBOX_HOME", str(home))
    box = msgspec.structs.replace(box_at(port, KEY, name="a"), id=f"id-{port}")
    store = Store.open()
    store.boxes.insert(box, "running", {}, 1.0, alias=other_homes.free_alias)
    made = store.boxes.get(box.id)
    ssh_config.publish(store.boxes.all)
    store.close()
    include.install()
    assert made
    return made


def port_of(home: Path, alias: str) -> str:
    file = home / ".ssh" / "config"
    out = subprocess.run(
        ["ssh", "-F", str(file), "-G", alias], capture_output=True, text=True, check=True
    ).stdout
    return next(line.split()[1] for line in out.splitlines() if line.startswith("port "))


def test_the_second_home_gets_another_alias(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".ssh").mkdir(mode=0o700)
    (home / ".ssh" / "config").write_text("Host x\n  Port 7\n")
    one = a_box_of(home / "one", monkeypatch, 4001)
    two = a_box_of(home / "two [x]", monkeypatch, 4002)
    assert one.alias == "devbox-a"
    assert two.alias.startswith("devbox-a-")
    assert (port_of(home, one.alias), port_of(home, two.alias)) == ("4001", "4002")
    third = a_box_of(home / "three", monkeypatch, 4003)
    assert port_of(home, third.alias) == "4003"
    assert len({one.alias, two.alias, third.alias}) == 3


def test_configs_that_are_no_home_of_ours_take_no_alias(home: Path) -> None:
    (home / ".ssh").mkdir(mode=0o700)
    (home / "mine").write_text("Host devbox-a\n  Port 1\n")
    text = f"Include {home / 'mine'} ~/none\nInclude 'unfinished\nHost devbox-b\n"
    (home / ".ssh" / "config").write_text(text)
    assert other_homes.taken() == set()
    assert other_homes.free_alias("a") == "devbox-a"

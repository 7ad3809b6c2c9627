"""What is only convenient on this computer never stops `up`: the box is guarded first."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import msgspec
import pytest

from devbox import lifecycle, paths
from devbox.errors import SshError
from devbox.lifecycle import login
from devbox.model import BoxState
from devbox.remote import agent, command
from devbox.remote.config import include, include_line, parsed, ssh_config
from devbox.remote.connection import connect
from devbox.workspace import Workspace
from tests.boxes import rewrite
from tests.lifecycle.cloud import Cloud, a_project, operation, told
from tests.remote.sshd import box_at


@contextmanager
def _read_only_folder(folder: Path) -> Iterator[None]:
    """Not writable by root either where the file system knows `immutable`; else by its mode."""
    folder.mkdir(mode=0o700)
    (folder / "config").write_text("Host *\n")
    folder.chmod(0o500)
    frozen = subprocess.run(["chattr", "+i", folder], capture_output=True, check=False)
    try:
        yield
    finally:
        if frozen.returncode == 0:
            subprocess.run(["chattr", "-i", folder], check=True)
        folder.chmod(0o700)


@contextmanager
def _file_in_place_of_folder(folder: Path) -> Iterator[None]:
    folder.write_text("not a folder\n")
    yield


@contextmanager
def _config_is_a_folder(folder: Path) -> Iterator[None]:
    (folder / "config").mkdir(parents=True)
    yield


@contextmanager
def _dangling_link(folder: Path) -> Iterator[None]:
    folder.mkdir()
    (folder / "config").symlink_to("/no/such/folder/config")
    yield


@contextmanager
def _link_to_itself(folder: Path) -> Iterator[None]:
    folder.mkdir()
    (folder / "config").symlink_to("config")
    yield


@contextmanager
def _slow_match(folder: Path) -> Iterator[None]:
    folder.mkdir()
    (folder / "config").write_text('Match exec "sleep 25"\n  User nobody\n')
    yield


@contextmanager
def _nonsense(folder: Path) -> Iterator[None]:
    folder.mkdir()
    (folder / "config").write_bytes(b"\xff\x00 nonsense\nMatch\n")
    yield


@contextmanager
def _held_lock(folder: Path) -> Iterator[None]:
    """The lock of the file is a folder, as after a restore that went wrong."""
    del folder
    (paths.ssh_dir() / "include.lock").mkdir()
    yield


UNWRITABLE = [
    _read_only_folder, _file_in_place_of_folder, _config_is_a_folder, _dangling_link,
    _link_to_itself, _slow_match, _nonsense, _held_lock,
]  # fmt: skip

Spoil = Callable[[Path], AbstractContextManager[None]]


def _is_armed(ws: Workspace) -> bool:
    with connect(ws.box("b")) as connection:
        return bool(agent.verdict(connection).reasons)


def _told_once(said: list[str]) -> None:
    """Which line is to be added."""
    told = [line for line in said if include_line.text(paths.ssh_config()) in line]
    assert len(told) == 1, said
    assert not include.installed()


def test_an_unwritable_user_config_is_told_and_the_box_is_up_and_armed(
    ws: Workspace, home: Path
) -> None:
    said: list[str] = []
    ws.narrate = said.append
    with _read_only_folder(home / ".ssh"):
        assert lifecycle.up(ws, "b").state is BoxState.RUNNING
    assert _is_armed(ws)
    assert ws.store.boxes.open_intents() == []
    _told_once(said)


@pytest.mark.parametrize("spoil", UNWRITABLE, ids=lambda made: made.__name__.strip("_"))
def test_whatever_makes_it_so_is_told_and_nothing_else(
    home: Path, monkeypatch: pytest.MonkeyPatch, spoil: Spoil
) -> None:
    monkeypatch.setattr(parsed, "PATIENCE", 0.5)
    ws = a_project(home, Cloud())
    lifecycle.up(ws, "b")
    ssh_config.publish(ws.store.boxes.all)
    said = told(ws)
    with spoil(home / ".ssh"):
        login.extend_user_config(operation(ws))
    _told_once(said)


def test_a_box_whose_ssh_config_cannot_be_written_is_armed_before_that_is_an_error(
    ws: Workspace,
) -> None:
    paths.ssh_config().mkdir()
    with pytest.raises(SshError, match="could not be written") as caught:
        lifecycle.up(ws, "b")
    assert "armed" in caught.value.means
    assert _is_armed(ws)
    paths.ssh_config().rmdir()
    assert lifecycle.up(ws, "b").state is BoxState.RUNNING
    ran = subprocess.run(command.argv(ws.box("b"), ["true"]), check=False)
    assert ran.returncode == 0


def test_a_box_with_an_unusable_address_does_not_stop_another(ws: Workspace) -> None:
    bad = box_at(22, None, "bad")
    assert bad.endpoint is not None
    hostile = msgspec.structs.replace(bad.endpoint, host="-oProxyCommand=true")
    ws.store.boxes.insert(msgspec.structs.replace(bad, endpoint=hostile), "running", {}, 1.0)
    said: list[str] = []
    ws.narrate = said.append
    try:
        assert lifecycle.up(ws, "b").state is BoxState.RUNNING
        assert any("box bad has no usable ssh address" in line for line in said)
    finally:
        rewrite(ws.store, msgspec.structs.replace(bad, state=BoxState.TERMINATED))


def test_an_end_that_was_confirmed_stands_when_the_ssh_entry_cannot_be_removed(
    ws: Workspace,
) -> None:
    box = lifecycle.up(ws, "b")
    config = paths.ssh_config()
    kept = config.read_bytes()
    config.unlink()
    config.mkdir()
    said: list[str] = []
    ws.narrate = said.append
    assert lifecycle.down(ws, box, save=False).state is BoxState.TERMINATED
    assert ws.store.boxes.open_intents() == []
    assert any("could not be removed" in line for line in said)
    config.rmdir()
    config.write_bytes(kept)


@pytest.mark.parametrize("spoil", UNWRITABLE[:5], ids=lambda made: made.__name__.strip("_"))
def test_every_verb_that_extends_the_user_config_says_the_line_to_add(
    home: Path, spoil: Spoil
) -> None:
    with spoil(home / ".ssh"):
        with pytest.raises(SshError) as caught:
            include.install()
        assert include_line.text(paths.ssh_config()) in caught.value.fix
        assert not include.installed()
        assert os.environ["HOME"] in caught.value.what

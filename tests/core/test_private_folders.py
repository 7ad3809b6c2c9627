"""Folders of our own: others may neither own them nor write to them, wherever they are made."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from devbox import files, paths
from devbox.box import paths as place
from devbox.errors import DevboxError
from devbox.remote import command
from devbox.remote.config import ssh_config
from tests.core.test_trust import make_foreign
from tests.remote.sshd import Sshd

DEEP = "a-folder-whose-name-is-so-long-that-no-socket-fits-below-it"


def test_a_new_folder_is_private(home: Path) -> None:
    made = files.private_dir(home / "a" / "b", parents=True)
    assert made.stat().st_mode & 0o777 == 0o700
    assert files.private_dir(made) == made


def test_our_own_link_is_followed(home: Path) -> None:
    (home / "disk").mkdir(mode=0o700)
    (home / "link").symlink_to(home / "disk")
    assert files.private_dir(home / "link") == home / "link"


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o720, 0o702])
def test_a_folder_others_can_write_to_is_refused(home: Path, mode: int) -> None:
    (home / "open").mkdir()
    (home / "open").chmod(mode)
    with pytest.raises(DevboxError, match="can be written to by other users") as caught:
        files.private_dir(home / "open")
    subprocess.run(["sh", "-c", caught.value.fix.partition("then: ")[2]], check=True)
    files.private_dir(home / "open")
    (home / "open").chmod(mode)
    with pytest.raises(OSError, match="can be written to"):
        place.private(home / "open")


def test_a_folder_of_another_user_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "theirs").mkdir(mode=0o700)
    make_foreign(home / "theirs", monkeypatch)
    with pytest.raises(DevboxError, match="belongs to another user"):
        files.private_dir(home / "theirs")
    with pytest.raises(OSError, match="belongs to another user"):
        place.private(home / "theirs")


def test_another_user_s_link_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "ours").mkdir(mode=0o700)
    (home / "link").symlink_to(home / "ours")
    if os.geteuid() == 0:
        os.lchown(home / "link", 12345, -1)
    else:
        make_foreign(home / "link", monkeypatch)
    with pytest.raises(DevboxError, match="belongs to another user"):
        files.private_dir(home / "link")


@pytest.mark.parametrize("where", ["", "ssh", "cache", "local"])
def test_devbox_s_own_folders_are_checked(home: Path, where: str) -> None:
    folder = Path(paths.home(), where)
    folder.mkdir(exist_ok=True)
    folder.chmod(0o777)
    look = {"": paths.home, "ssh": paths.ssh_dir, "cache": paths.cache_dir}
    with pytest.raises(DevboxError, match="can be written to by other users"):
        look.get(where, paths.local_boxes)()


def test_the_box_half_takes_no_orders_from_a_folder_of_all(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEVBOX_BOX_ROOT", str(home / "box"))
    place.root().chmod(0o777)
    with pytest.raises(OSError, match="can be written to by other users"):
        place.root()


def deep(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home in which no socket fits."""
    monkeypatch.setenv("DEVBOX_HOME", str(home / DEEP))


def temp(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))


def test_a_control_folder_that_another_user_made_is_not_used(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep(home, monkeypatch)
    temp(monkeypatch, home / "t")
    taken = paths.control_dir()
    assert taken
    assert taken.parent == home / "t"
    taken.chmod(0o777)
    other = paths.control_dir()
    assert other != taken
    if other is not None:
        assert other.stat().st_mode & 0o077 == 0
        other.rmdir()


def test_a_long_temp_folder_gives_a_short_place(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep(home, monkeypatch)
    temp(monkeypatch, home / "var-folders-zz-zyxvpxvq6csfxvn-n0000000000000-T")
    chosen = paths.control_dir()
    assert chosen
    assert len(str(chosen)) <= 46
    server = Sshd(home / "sshd")
    try:
        box = server.box()
        ssh_config.publish([box])
        ran = subprocess.run(command.argv(box, ["echo", "hi"]), capture_output=True, check=False)
        assert ran.stdout == b"hi\n", ran.stderr
    finally:
        ssh_config.forget(box)
        server.stop()
        shutil.rmtree(chosen)


def test_without_any_place_ssh_shares_no_connection(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep(home, monkeypatch)
    monkeypatch.setattr(paths, "_SOCKET_ROOM", 5)
    assert paths.control_dir() is None
    server = Sshd(home / "sshd")
    try:
        box = server.box()
        ssh_config.publish([box])
        said = [line.split() for line in paths.ssh_config().read_text().splitlines()]
        assert [words[1] for words in said if words[:1] == ["ControlPath"]] == ["none"]
        ran = subprocess.run(command.argv(box, ["echo", "hi"]), capture_output=True, check=False)
        assert ran.stdout == b"hi\n", ran.stderr
    finally:
        server.stop()

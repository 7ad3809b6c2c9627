"""The one Include line in the user's ~/.ssh/config, whatever that file looks like."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devbox import paths
from devbox.errors import SshError
from devbox.remote.config import blocks, include, include_line, parsed, ssh_config
from tests.remote.sshd import box_at
from tests.remote.test_config import KEY

PERSONAL = {
    "host star": b"Host *\n  User everyone\n  Port 99\n  StrictHostKeyChecking no\n",
    "match": b"Match host devbox-one\n  Port 1\nMatch all\n  User x\n",
    "match exec": b'Match exec "true"\n  Hostname elsewhere\n',
    "no trailing newline": b"Host a\n  Port 7",
    "crlf": b"Host a\r\n  Port 7\r\n",
    "crlf without end": b"# mine\r\nHost a",
    "comments and blanks": b"\n\n# mine\n\n\tPort 7\n",
    "unicode": "# grüße 😀\nHost é\n  User ü\n".encode(),
    "not utf-8": b"# \xff\xfe\nHost a\n",
    "empty": b"",
    "blank": b"\n",
    "other include": b"Include ~/other/*.conf\nHost a\n  Port 7\n",
}


@pytest.fixture
def personal(home: Path) -> Path:
    ssh_config.publish([box_at(4242, KEY)])
    file = home / ".ssh" / "config"
    file.parent.mkdir(mode=0o700)
    return file


@pytest.mark.parametrize("content", PERSONAL.values(), ids=PERSONAL.keys())
@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_any_personal_config_survives(personal: Path, content: bytes, mode: int) -> None:
    personal.write_bytes(content)
    personal.chmod(mode)
    others_before = _settings(personal, "a"), _settings(personal, "elsewhere.example")
    assert not include.installed()
    assert include.install()
    assert include.installed()
    assert _of_box(personal) == ("127.0.0.1", "4242", "true")
    assert (_settings(personal, "a"), _settings(personal, "elsewhere.example")) == others_before
    assert personal.read_bytes().endswith(content)
    assert personal.stat().st_mode & 0o777 == mode
    assert not include.install()
    assert include.remove()
    assert personal.read_bytes() == content
    assert personal.stat().st_mode & 0o777 == mode
    assert not include.remove()
    assert not include.installed()


def test_a_missing_file_and_folder_come_and_go(home: Path) -> None:
    assert include.install()
    file = home / ".ssh" / "config"
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert file.stat().st_mode & 0o777 == 0o600
    assert parsed.settings(file, blocks.PROBE)["hostname"] == blocks.PROBE_HOST
    assert include.remove()
    assert not file.exists()


def test_what_was_added_to_a_file_of_ours_stays(home: Path) -> None:
    include.install()
    file = home / ".ssh" / "config"
    with file.open("a") as stream:
        stream.write("Host mine\n")
    include.remove()
    assert file.read_text() == "Host mine\n"


def test_a_symlink_stays_one(personal: Path, home: Path) -> None:
    real = home / "dotfiles" / "ssh config"
    real.parent.mkdir()
    real.write_bytes(PERSONAL["host star"])
    real.chmod(0o640)
    personal.symlink_to("../dotfiles/ssh config")
    include.install()
    assert personal.is_symlink()
    assert real.read_bytes().startswith(b"Include ")
    assert real.stat().st_mode & 0o777 == 0o640
    include.remove()
    assert personal.is_symlink()
    assert real.read_bytes() == PERSONAL["host star"]


def test_a_read_only_file_is_left_alone(personal: Path) -> None:
    personal.write_bytes(PERSONAL["host star"])
    personal.chmod(0o444)
    with pytest.raises(SshError, match="read-only") as caught:
        include.install()
    assert include_line.text(paths.ssh_config()) in caught.value.fix
    assert personal.read_bytes() == PERSONAL["host star"]


def test_a_file_ssh_cannot_read_is_left_alone(personal: Path) -> None:
    personal.write_bytes(b"NoSuchOption 1\nHost a\n")
    with pytest.raises(SshError, match="ssh itself cannot read"):
        include.install()
    assert personal.read_bytes() == b"NoSuchOption 1\nHost a\n"


def test_a_write_that_ssh_does_not_follow_is_undone(
    personal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = PERSONAL["no trailing newline"]
    personal.write_bytes(content)
    monkeypatch.setattr(blocks, "PROBE_HOST", "not.what.the.file.says")
    with pytest.raises(SshError, match="could not be extended"):
        include.install()
    assert personal.read_bytes() == content
    personal.unlink()
    with pytest.raises(SshError, match="could not be extended"):
        include.install()
    assert not personal.exists()


def test_an_include_that_a_host_encloses_is_moved_up(personal: Path) -> None:
    line = include_line.text(paths.ssh_config()).encode()
    personal.write_bytes(b"Host work\n  Port 7\n  " + line + b"\nHost a\n  Port 8\n")
    assert not include.installed()
    include.install()
    assert personal.read_bytes() == line + b"\nHost work\n  Port 7\nHost a\n  Port 8\n"
    assert _of_box(personal)[1] == "4242"


@pytest.mark.parametrize("folder", ["with space", "it's", "[a]*?", "é 😀", "#hash", "a%h"])
def test_any_home(home: Path, monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    (home / folder).mkdir()
    monkeypatch.setenv("HOME", str(home / folder))
    monkeypatch.setenv("DEVBOX_HOME", str(home / folder / ".devbox"))
    include.install()
    file = home / folder / ".ssh" / "config"
    assert parsed.settings(file, blocks.PROBE)["hostname"] == blocks.PROBE_HOST
    include.remove()
    assert not file.exists()


def test_two_installations_share_one_file(
    personal: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    personal.write_bytes(PERSONAL["crlf"])
    include.install()
    first = os.environ["DEVBOX_HOME"]
    monkeypatch.setenv("DEVBOX_HOME", str(home / "second"))
    include.install()
    monkeypatch.setenv("DEVBOX_HOME", first)
    assert _of_box(personal)[1] == "4242"
    include.remove()
    monkeypatch.setenv("DEVBOX_HOME", str(home / "second"))
    assert include.installed()
    include.remove()
    assert personal.read_bytes() == PERSONAL["crlf"]


def _toggle(environment: dict[str, str]) -> bool:
    os.environ.update(environment)
    return include.install()


def test_ten_processes_at_once_add_one_line(personal: Path, home: Path) -> None:
    personal.write_bytes(PERSONAL["host star"])
    environment = {"HOME": str(home), "DEVBOX_HOME": os.environ["DEVBOX_HOME"]}
    with multiprocessing.get_context("spawn").Pool(10) as pool:
        changed = pool.map(_toggle, [environment] * 10, chunksize=1)
    assert sum(changed) == 1
    line = include_line.text(paths.ssh_config()).encode() + b"\n"
    assert personal.read_bytes() == line + PERSONAL["host star"]


@given(st.binary(max_size=300) | st.text(max_size=200).map(str.encode))
@settings(max_examples=300)
def test_put_and_strip_are_inverse(content: bytes) -> None:
    target = Path("/home/some one/.devbox/ssh/config")
    extended = include_line.put(content, target)
    assert extended.endswith(content)
    assert include_line.put(extended, target) == extended
    assert include_line.strip(extended, target) == content


def _of_box(file: Path) -> tuple[str, str, str]:
    found = parsed.settings(file, "devbox-one")
    return found["hostname"], found["port"], found["stricthostkeychecking"]


def _settings(file: Path, host: str) -> bytes:
    return subprocess.run(["ssh", "-F", file, "-G", host], capture_output=True, check=True).stdout

"""The Windows side of WSL, with a folder for the Windows profile and scripts for its programs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path, PureWindowsPath

import pytest

from devbox import paths
from devbox.errors import SshError
from devbox.remote.config import include, parsed, ssh_config, wsl
from tests.remote.sshd import box_at
from tests.remote.test_config import KEY

USER = "Åsa Ek"


@pytest.fixture
def side(home: Path) -> wsl.Side:
    folder = home / "mnt c" / USER / ".ssh"
    return wsl.Side(folder, PureWindowsPath(f"C:/Users/{USER}/.ssh"), USER)


@pytest.fixture
def windows(home: Path, monkeypatch: pytest.MonkeyPatch, side: wsl.Side) -> Path:
    """WSL with Windows' programs on PATH; their calls are appended to the returned file."""
    calls, folder = home / "calls", home / "windows"
    side.folder.parent.mkdir(parents=True)
    folder.mkdir()
    scripts = {
        "cmd.exe": f"printf 'C:\\\\Users\\\\{USER}\\r\\n{USER}\\r\\n'",
        "wslpath": f"echo '{side.folder.parent}'",
        "icacls.exe": "true",
        # Reads the mirrored file where it really is, and Includes by their real path.
        "ssh.exe": (
            f"sed 's|C:/Users/{USER}|{side.folder.parent}|' "
            f'"$(echo "$2" | sed \'s|C:/Users/{USER}|{side.folder.parent}|\')" '
            f"> '{home}/seen'; shift 2; exec ssh -F '{home}/seen' \"$@\""
        ),
    }
    for name, script in scripts.items():
        (folder / name).write_text(f'#!/bin/sh\necho "{name} $*" >> "{calls}"\n{script}\n')
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("WSL_DISTRO_NAME", "Debian")
    return calls


def test_mirror_writes_what_windows_ssh_reads(side: wsl.Side) -> None:
    box = box_at(2022, KEY)
    ssh_config.publish([box])
    folder = wsl.mirror([box], side)
    assert folder == side.folder / "devbox"
    assert (folder / "id_ed25519").read_bytes() == paths.identity().read_bytes()
    assert (folder / "id_ed25519").stat().st_mode & 0o777 == 0o600
    assert (folder / "known_hosts").read_text() == f"devbox-one {KEY}\n"
    found = parsed.settings(folder / "config", "devbox-one")
    assert found["identityfile"] == f"C:/Users/{USER}/.ssh/devbox/id_ed25519"
    assert found["userknownhostsfile"] == f"C:/Users/{USER}/.ssh/devbox/known_hosts"
    assert (found["port"], found["controlmaster"]) == ("2022", "false")
    assert "controlpath" not in found


def test_include_on_the_windows_side_comes_and_goes(side: wsl.Side) -> None:
    side.folder.mkdir(parents=True)
    file = side.folder / "config"
    file.write_bytes(b"Host work\r\n  User me\r\n")
    wsl.mirror([box_at(22, KEY)], side)
    assert wsl.install(side)
    assert not wsl.install(side)
    first = file.read_bytes().split(b"\n")[0]
    assert first == f'Include "C:/Users/{USER}/.ssh/devbox/config"\r'.encode()
    assert wsl.remove(side)
    assert file.read_bytes() == b"Host work\r\n  User me\r\n"
    assert not (side.folder / "devbox").exists()
    assert not wsl.remove(side)


def test_under_wsl_everything_follows_by_itself(windows: Path, side: wsl.Side) -> None:
    assert wsl.detected()
    ssh_config.publish([box_at(22, KEY, "a")])
    include.install()
    mirrored = side.folder / "devbox" / "config"
    assert "devbox-a" in mirrored.read_text()
    assert f"icacls.exe C:\\Users\\{USER}\\.ssh\\devbox\\id_ed25519 /inheritance:r /grant:r" in (
        windows.read_text()
    )
    ssh_config.publish([box_at(22, KEY, "b")])
    assert "devbox-a" not in mirrored.read_text()
    assert windows.read_text().count("cmd.exe") == 1
    assert windows.read_text().count("icacls.exe") == 1
    include.remove()
    assert not mirrored.exists()
    assert not (side.folder / "config").exists()


def test_a_mirror_that_windows_cannot_read_is_undone(
    windows: Path, side: wsl.Side, home: Path
) -> None:
    ssh_config.publish([box_at(22, KEY, "a")])
    before = (side.folder / "devbox" / "config").read_bytes()
    (home / "windows" / "ssh.exe").write_text("#!/bin/sh\necho broken >&2; exit 255\n")
    with pytest.raises(SshError, match=r"ssh\.exe cannot read .*broken"):
        ssh_config.publish([box_at(22, KEY, "b")])
    assert (side.folder / "devbox" / "config").read_bytes() == before
    said: list[str] = []
    ssh_config.publish([box_at(22, KEY, "b")], narrate=said.append)
    assert "broken" in said[0]
    with pytest.raises(SshError, match="broken"):
        wsl.install()
    assert not (side.folder / "config").exists()
    # Our own side is done: ssh from WSL works.
    assert parsed.settings(paths.ssh_config(), "devbox-b")["port"] == "22"
    assert windows.exists()


def test_a_windows_that_does_not_answer(windows: Path, home: Path) -> None:
    (home / "windows" / "cmd.exe").write_text("#!/bin/sh\necho '%USERPROFILE%'\n")
    with pytest.raises(SshError, match="does not tell where your profile is"):
        wsl.side()
    assert not windows.exists()


def test_a_drive_that_refuses(side: wsl.Side) -> None:
    side.folder.parent.parent.mkdir(parents=True)
    side.folder.parent.write_text("a file where the profile should be")
    with pytest.raises(SshError, match="cannot be written"):
        wsl.mirror([box_at(22, KEY)], side)


def test_elsewhere_nothing_of_it_happens(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.delenv("WSL_DISTRO_NAME", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    assert not wsl.detected()
    assert subprocess.run(["/bin/ls", home], capture_output=True, check=True).stdout == b""

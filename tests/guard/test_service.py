"""The guard among the user's services: what is written, and that nothing of theirs is touched.
`systemctl` is a program of ours here that keeps what it was asked; the texts are held against
the format's own rules."""

from __future__ import annotations

import os
import plistlib
import shlex
from pathlib import Path

import pytest

from devbox.errors import UsageError
from devbox.guard import install, unit
from tests.command_line import Devbox

ODD = '/home/a b/%h $HOME/"q"\\x'


def test_a_unit_runs_the_same_interpreter_and_reads_back_as_it_was_meant() -> None:
    lines = unit.systemd(ODD, {"DEVBOX_HOME": ODD, "PATH": "/bin"}).splitlines()
    assert unit.MARK in lines[0]
    command = next(line for line in lines if line.startswith("ExecStart="))
    words = shlex.split(command.removeprefix("ExecStart="))
    assert [word.replace("$$", "$").replace("%%", "%") for word in words] == unit.argv(ODD)
    kept = next(line for line in lines if "DEVBOX_HOME" in line).removeprefix("Environment=")
    assert shlex.split(kept)[0].replace("%%", "%") == f"DEVBOX_HOME={ODD}"


def test_a_launch_agent_reads_back_as_it_was_meant() -> None:
    made = unit.launchd("devbox-guard", ODD, {"DEVBOX_HOME": ODD}, "/l")
    assert unit.MARK.encode() in made
    found = plistlib.loads(made)
    assert found["ProgramArguments"] == unit.argv(ODD)
    assert found["EnvironmentVariables"] == {"DEVBOX_HOME": ODD}


def test_a_line_more_in_a_unit_is_refused() -> None:
    with pytest.raises(UsageError):
        unit.systemd("/p", {"PATH": "/bin\nExecStartPre=/evil"})


@pytest.fixture
def calls(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A systemctl that notes its arguments, and fails at the word in HOME/fails."""
    program = home / "bin" / "systemctl"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\necho "$*" >> {home}/calls\n'
        f'test ! -e {home}/fails || case "$*" in *"$(cat {home}/fails)"*) exit 1;; esac\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr("platform.system", lambda: "Linux")
    return home / "calls"


def test_it_is_put_in_and_taken_out(devbox: Devbox, home: Path, calls: Path) -> None:
    done = devbox("guard", "--install")
    assert done.code == 0, done.err
    file = install.installed()
    assert file == home / "config" / "systemd" / "user" / "devbox-guard.service"
    assert "hf_secret" not in file.read_text()
    assert calls.read_text().splitlines() == [
        "--user daemon-reload",
        "--user enable --now devbox-guard.service",
    ]
    assert str(file) in devbox("guard", "--status").out
    assert devbox("guard", "--install").code == 0  # again, with what changed
    assert devbox("guard", "--uninstall").code == 0
    assert not file.exists()
    assert "was not installed" in devbox("guard", "--uninstall").out


def test_a_file_of_the_users_stays(devbox: Devbox, home: Path, calls: Path) -> None:
    file = home / "config" / "systemd" / "user" / "devbox-guard.service"
    file.parent.mkdir(parents=True)
    file.write_text("[Service]\nExecStart=/mine\n")
    for option in ("--install", "--uninstall"):
        done = devbox("guard", option)
        assert done.code == 5
        assert "was not written by devbox" in done.err
    assert file.read_text() == "[Service]\nExecStart=/mine\n"
    assert not calls.exists()


def test_one_that_cannot_start_leaves_nothing(devbox: Devbox, home: Path, calls: Path) -> None:
    (home / "fails").write_text("enable")
    done = devbox("guard", "--install")
    assert done.code == 1
    assert "nothing was installed" in done.err
    assert "fix: keep it running in a terminal: devbox guard" in done.err
    assert install.installed() is None
    assert not list((home / "config").rglob("*.service"))


def test_another_home_has_a_service_of_its_own() -> None:
    assert unit.name("/h/.devbox", "/h/.devbox") == "devbox-guard"
    assert unit.name("/other", "/h/.devbox") != unit.name("/third", "/h/.devbox")

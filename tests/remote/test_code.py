"""`devbox code` as a user runs it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from devbox import process
from devbox.errors import SshError, UsageError
from devbox.model import Box
from devbox.remote import editor
from devbox.remote.config import include
from tests.remote.conftest import change, devbox
from tests.remote.sshd import make_box, wait_until

LINKS = {
    "code": "vscode://vscode-remote/ssh-remote+devbox-one{path}",
    "cursor": "cursor://vscode-remote/ssh-remote+devbox-one{path}",
    "windsurf": "windsurf://vscode-remote/ssh-remote+devbox-one{path}",
    "zed": "zed://ssh/devbox-one{path}",
}
CALLS = {
    "code": "--folder-uri vscode-remote://ssh-remote+devbox-one{path}",
    "cursor": "--folder-uri vscode-remote://ssh-remote+devbox-one{path}",
    "windsurf": "--folder-uri vscode-remote://ssh-remote+devbox-one{path}",
    "zed": "ssh://devbox-one{path}",
}


@pytest.mark.parametrize("name", list(LINKS))
def test_code_prints_the_link_and_opens_the_editor(
    box: Box, home: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    called = _fake_program(home, monkeypatch, name)
    # The work folder is below the login folder, which is the account's, not this test's HOME.
    login = devbox("exec", box.name, "pwd").stdout.decode().strip()
    done = devbox("code", "--editor", name)
    assert done.stdout.decode() == LINKS[name].format(path=f"{login}/work") + "\n", done.stderr
    assert called.read_text() == CALLS[name].format(path=f"{login}/work") + "\n"
    assert include.installed()
    assert b"undo: devbox ssh-config --remove" in done.stderr
    assert devbox("code", "--editor", name, "-q").stderr == b""


def test_code_print_changes_nothing(box: Box, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called = _fake_program(home, monkeypatch, "code")
    change(box, workdir="/data/my work & más#1")
    done = devbox("code", "--print", "--json")
    assert json.loads(done.stdout) == {
        "version": 1,
        "kind": "code",
        "box": "one",
        "editor": "code",
        "path": "/data/my work & más#1",
        "link": "vscode://vscode-remote/ssh-remote+devbox-one/data/my%20work%20%26%20m%C3%A1s%231",
        "opened": False,
    }
    assert not called.exists()
    assert not include.installed()


def test_code_hands_the_link_to_the_desktop(
    box: Box, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(box, workdir="/w")
    called = _fake_program(home, monkeypatch, "xdg-open")
    done = devbox("code", "--json", "--editor", "cursor")
    assert json.loads(done.stdout)["opened"] is True
    wait_until(called.exists, "xdg-open was called")
    wait_until(lambda: called.read_text().endswith("\n"), "xdg-open wrote its arguments")
    assert called.read_text() == "cursor://vscode-remote/ssh-remote+devbox-one/w\n"


def test_code_without_any_opener_still_prints(
    box: Box, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(box, workdir="/w")
    _only_these_programs(home, monkeypatch)
    done = devbox("code")
    assert (done.returncode, done.stdout) == (0, LINKS["code"].format(path="/w").encode() + b"\n")
    assert b"open the link yourself" in done.stderr


def test_code_with_a_failing_editor_prints_and_fails(
    box: Box, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(box, workdir="/w")
    _fake_program(home, monkeypatch, "code", "echo broken >&2; exit 3")
    done = devbox("code")
    assert (done.returncode, done.stdout) == (9, LINKS["code"].format(path="/w").encode() + b"\n")
    assert b"code ended with code 3: broken" in done.stderr
    assert devbox("code", "--editor", "ed").returncode == 2


def test_a_box_that_lies_about_its_folder_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for answer in ["", "relative", "/a/../b", "/a\nb", "/\x1b[2J"]:
        monkeypatch.setattr(process, "run", lambda *_, a=answer, **__: process.Completed(0, a, ""))
        with pytest.raises((UsageError, SshError)):
            editor.workdir(make_box())


def _fake_program(home: Path, monkeypatch: pytest.MonkeyPatch, name: str, script: str = "") -> Path:
    """A program of that name on PATH that writes its arguments into the returned file."""
    folder = _only_these_programs(home, monkeypatch)
    called = home / "called"
    body = script or f'printf "%s\\n" "$*" > "{called}"'
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)
    return called


def _only_these_programs(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with ssh and a shell, and no editor or desktop of the machine that runs the tests."""
    folder = home / "bin"
    folder.mkdir(exist_ok=True)
    for name in ("ssh", "ssh-keygen", "sh"):
        found = next(
            Path(p) / name for p in os.environ["PATH"].split(":") if (Path(p) / name).exists()
        )
        (folder / name).symlink_to(found)
    monkeypatch.setenv("PATH", str(folder))
    return folder

"""The private key of this computer is gone while boxes run that know only that one."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from devbox import lifecycle, paths
from devbox.errors import SshError
from devbox.model import BoxState
from devbox.remote import command, preconditions
from devbox.remote.connection import connect
from devbox.workspace import Workspace


def _lose_the_key() -> str:
    public = paths.identity().with_suffix(".pub")
    lost = public.read_text()
    paths.identity().unlink()
    public.unlink()
    return lost


def _log_in(ws: Workspace) -> bytes:
    line = command.argv(ws.box("b"), ["echo", "in"])
    return subprocess.run(line, capture_output=True, check=True).stdout


@pytest.mark.openssh
@pytest.mark.machine
def test_no_verb_makes_a_new_key_in_silence(ws: Workspace) -> None:
    box = lifecycle.up(ws, "b")
    _lose_the_key()
    for use in (connect, preconditions.check_running):
        with pytest.raises(SshError, match=r"ssh key .* is gone") as caught:
            use(box)
        assert "devbox up b" in caught.value.fix
    assert not paths.identity().exists()


@pytest.mark.parametrize("between", ["nothing", "a pause"])
def test_up_says_it_and_has_the_box_take_a_new_key(ws: Workspace, between: str) -> None:
    box = lifecycle.up(ws, "b")
    if between == "a pause":
        lifecycle.pause(ws, box, save=False)
    lost = _lose_the_key()
    said: list[str] = []
    ws.narrate = said.append
    assert lifecycle.up(ws, "b").state is BoxState.RUNNING
    assert any("key was lost or replaced" in line for line in said), said
    assert paths.identity().with_suffix(".pub").read_text() != lost
    assert _log_in(ws) == b"in\n"
    said.clear()
    lifecycle.up(ws, "b")
    assert said == ["b is up already"]


@pytest.mark.openssh
@pytest.mark.machine
def test_a_key_from_a_backup_needs_nothing(ws: Workspace, home: Path) -> None:
    lifecycle.up(ws, "b")
    kept = home / "backup"
    paths.identity().rename(kept)
    kept.rename(paths.identity())
    said: list[str] = []
    ws.narrate = said.append
    lifecycle.up(ws, "b")
    assert said == ["b is up already"]


def test_a_second_box_takes_the_new_key_too(ws: Workspace, home: Path) -> None:
    (home / "project" / "devbox.toml").write_text("[boxes.b]\n[boxes.c]\n")
    ws.spec = Workspace.open(home / "project").spec
    for name in ("b", "c"):
        lifecycle.up(ws, name)
    _lose_the_key()
    for name in ("b", "c"):
        lifecycle.up(ws, name)
        with connect(ws.box(name)) as connection:
            assert connection.run(["true"]).code == 0

"""A box that paused itself or ended while nobody looked, and a verb that finds it silent."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from devbox import lifecycle
from devbox.model import BoxState
from devbox.providers.abilities import CanPause
from devbox.workspace import Workspace
from tests import warm
from tests.remote.sshd import wait_until

DEVBOX = [sys.executable, "-m", "devbox.cli.main"]


def devbox(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return warm.run(
        [*DEVBOX, *words], cwd=home / "project", capture_output=True, text=True, check=False
    )


def _paused_behind_our_back(ws: Workspace) -> None:
    box = lifecycle.up(ws, "b")
    provider = ws.provider("local")
    assert isinstance(provider, CanPause)
    provider.pause(box.handle)
    assert ws.box("b").state is BoxState.RUNNING
    wait_until(
        lambda: (
            (seen := provider.observe(box.handle)) is not None and seen.state is BoxState.PAUSED
        ),
        "it is paused",
    )


@pytest.mark.parametrize(
    "words",
    [
        ["exec", "b", "true"],
        ["ssh", "b"],
        ["run", "--box", "b", "--", "true"],
        ["keep", "b", "10m"],
        ["sync", "status", "b"],
        ["code", "b", "--print"],
        ["forward", "b", "8888"],
    ],
    ids=lambda words: words[0],
)
def test_a_verb_on_a_box_that_paused_itself_says_when_and_how_to_bring_it_back(
    ws: Workspace, home: Path, words: list[str]
) -> None:
    _paused_behind_our_back(ws)
    done = devbox(home, *words)
    assert re.search(r"b paused itself at \d\d:\d\d", done.stderr), done.stderr
    assert "devbox resume b" in done.stderr
    assert done.returncode == 5
    assert ws.box("b").state is BoxState.PAUSED


@pytest.mark.openssh
def test_a_verb_on_a_box_that_ended_says_so(ws: Workspace, home: Path) -> None:
    box = lifecycle.up(ws, "b")
    ws.provider("local").terminate(box.handle)
    done = devbox(home, "exec", "b", "true")
    assert "b ended" in done.stderr
    assert "devbox up b" in done.stderr
    assert done.returncode == 4


@pytest.mark.openssh
def test_a_program_that_ends_with_ssh_s_own_code_is_no_silence(ws: Workspace, home: Path) -> None:
    lifecycle.up(ws, "b")
    done = devbox(home, "exec", "b", "sh", "-c", "echo mine; exit 255")
    assert (done.returncode, done.stdout, done.stderr) == (255, "mine\n", "")


@pytest.mark.openssh
def test_signals_of_exec_are_the_programs(ws: Workspace, home: Path) -> None:
    lifecycle.up(ws, "b")
    line = [*DEVBOX, "exec", "b", "sh", "-c", "echo up; exec sleep 600"]
    for number in (signal.SIGTERM, signal.SIGHUP):
        with subprocess.Popen(line, cwd=home / "project", stdout=subprocess.PIPE) as running:
            assert running.stdout is not None
            assert running.stdout.readline() == b"up\n"
            os.kill(running.pid, number)
            assert running.wait(60) != 0

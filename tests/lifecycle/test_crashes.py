"""kill -9 of devbox at every journalled step, then reconcile: right state, right ledger, no stray
process, no lost file."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from devbox import lifecycle
from devbox.model import BoxState
from devbox.remote import command
from devbox.workspace import Workspace
from tests import warm

CONNECT = ("observe", "ssh", "login", "arm", "include")
TRIALS = [
    *(("up", step) for step in ("create", *CONNECT)),
    *(("pause", step) for step in ("pause", "confirm", "forget")),
    *(("resume", step) for step in ("resume", *CONNECT)),
    *(("down", step) for step in ("terminate", "confirm", "forget")),
]
PHASES = ("before", "after")
CASES = [
    *((*trial, phase, "embedded") for trial in TRIALS for phase in PHASES),
    # Those in which the next devbox finds what the last one left on the box.
    *((verb, step, "after", "openssh") for verb, step in (("up", "login"), ("up", "arm"))),
    *((verb, verb, "after", "openssh") for verb in ("pause", "resume")),
    ("down", "terminate", "after", "openssh"),
]
GOAL = {
    "up": BoxState.RUNNING,
    "resume": BoxState.RUNNING,
    "pause": BoxState.PAUSED,
    "down": BoxState.TERMINATED,
}


@pytest.fixture
def project(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = home / "project"
    folder.mkdir()
    (folder / "devbox.toml").write_text("[boxes.b]\n[providers.local]\nprice = 1.0\n")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def ws(project: Path) -> Iterator[Workspace]:
    workspace = Workspace.open()
    yield workspace
    for box in workspace.store.boxes.all():
        lifecycle.down(workspace, box, save=False)
    assert strays(project.parent) == []


def strays(home: Path) -> list[str]:
    """Processes that belong to this test's HOME: servers, agents, ssh masters."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("HOME", "").startswith(str(home)) and process.pid != PID:
                found.append(" ".join(process.cmdline()))
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


PID = psutil.Process().pid


def crash(verb: str, step: str, phase: str) -> None:
    """Run the verb in a process of its own that dies at that step."""
    done = warm.run(
        [sys.executable, "-m", "tests.lifecycle.driver", verb, step, phase],
        cwd=Path.cwd(),
        env=None,
        check=False,
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == -9, done.stderr.decode()


def remember(ws: Workspace) -> None:
    """Put a file on the box that nothing may lose."""
    box = ws.box("b")
    done = subprocess.run(
        command.argv(box, ["sh", "-c", "echo precious > work/kept.txt"]),
        check=True,
        capture_output=True,
    )
    assert done.returncode == 0


def recall(ws: Workspace) -> str:
    done = subprocess.run(
        command.argv(ws.box("b"), ["cat", "work/kept.txt"]), check=True, capture_output=True
    )
    return done.stdout.decode().strip()


@pytest.mark.parametrize(("verb", "step", "phase", "server"), CASES, indirect=["server"])
def test_a_crash_is_finished_by_reconcile(ws: Workspace, verb: str, step: str, phase: str) -> None:
    if verb != "up":
        lifecycle.up(ws, "b")
        remember(ws)
    if verb == "resume":
        lifecycle.pause(ws, ws.box("b"))

    crash(verb, step, phase)
    findings = lifecycle.reconcile(ws)

    box = ws.box("b")
    never_made = (verb, step, phase) == ("up", "create", "before")
    assert box.state is (BoxState.TERMINATED if never_made else GOAL[verb])
    assert [f.kind for f in findings] == ["given-up" if never_made else "finished"]
    assert ws.store.boxes.open_intents() == []
    assert (ws.store.ledger.current(box.id) is not None) is (box.state is BoxState.RUNNING)
    assert len(ws.provider("local").find()) == (0 if box.state.is_over else 1)
    if box.state is BoxState.PAUSED:
        lifecycle.resume(ws, box)
    if verb in ("pause", "resume"):
        assert recall(ws) == "precious"
    assert lifecycle.reconcile(ws) == []


@pytest.mark.parametrize("step", ["create", "observe", "arm"])
def test_running_up_again_after_a_crash_also_finishes_it(ws: Workspace, step: str) -> None:
    crash("up", step, "after")
    box = lifecycle.up(ws, "b")
    assert box.state is BoxState.RUNNING
    assert len(ws.provider("local").find()) == 1


def test_down_after_a_crashed_up_leaves_nothing(ws: Workspace) -> None:
    crash("up", "create", "after")
    box = lifecycle.down(ws, ws.box("b"))
    assert box.state is BoxState.TERMINATED
    assert ws.provider("local").find() == []

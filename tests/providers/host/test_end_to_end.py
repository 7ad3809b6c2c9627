"""A host of the user's through the real command line: up → exec → sync → down."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from devbox import lifecycle, spec
from devbox.model import BoxState
from devbox.providers.host import user_ssh
from devbox.workspace import Workspace
from tests import warm
from tests.processes import arguments, command_line
from tests.providers.host.machine import Machine

pytestmark = pytest.mark.real_time

ROOT = Path(__file__).parents[3]
TOML = """\
project = "p"
[boxes.b]
provider = "ssh"
host = "lab"
[boxes.b.env]
GREETING = "hello there"
"""


@pytest.fixture
def project(home: Path) -> Path:
    folder = home / "project"
    folder.mkdir()
    (folder / "devbox.toml").write_text(TOML)
    spec.trust_file(folder / "devbox.toml")
    (folder / "main.py").write_text("print('hello')\n")
    return folder


def devbox(folder: Path, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = warm.run(
        [sys.executable, "-m", "devbox.cli.main", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def test_up_exec_sync_down(lab: Machine, project: Path) -> None:
    before = lab.admitted
    told = devbox(project, "up").stderr
    assert "cannot pause itself" in told
    assert devbox(project, "exec", "b", "printenv", "GREETING").stdout == "hello there\n"
    devbox(project, "sync", "up")
    assert devbox(project, "exec", "b", "cat", "work/main.py").stdout == "print('hello')\n"
    (row,) = json.loads(devbox(project, "ls", "--refresh", "--json").stdout)["boxes"]
    assert row["state"] == BoxState.RUNNING
    assert any("agent" in arguments(process) for process in lab.processes())
    assert "no pause_command" in devbox(project, "pause", code=6).stderr
    assert "everything agrees" in devbox(project, "reconcile").stdout  # it was never begun
    devbox(project, "down", "--yes")
    assert lab.admitted == before
    assert not any("agent" in arguments(process) for process in lab.processes())
    assert (lab.home / "work" / "main.py").exists()
    assert "devbox-b" not in (project.parent / ".devbox" / "ssh" / "config").read_text()


def test_an_up_that_died_between_record_and_line_is_finished_by_reconcile(
    lab: Machine, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ws = Workspace.open(project)

    def die(target: str, script: str) -> object:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(user_ssh, "ask", die)
        with pytest.raises(KeyboardInterrupt):
            lifecycle.up(ws, "b")
    assert [f.kind for f in lifecycle.reconcile(ws)] == ["finished"]
    assert ws.box("b").state is BoxState.RUNNING
    assert len(lab.ours) == 1
    lifecycle.down(ws, ws.box("b"), save=False)
    assert lab.ours == []
    ws.store.close()


def test_down_ends_what_was_started_through_devbox_and_nothing_else(
    lab: Machine, project: Path
) -> None:
    devbox(project, "up")
    stubborn = "trap '' TERM HUP; while :; do sleep 1; done"
    hidden = f"nohup setsid sh -c {shlex.quote(stubborn)} >/dev/null 2>&1 &"
    devbox(project, "exec", "b", "--", "sh", "-c", hidden)
    started = devbox(project, "run", "-d", "--", "sh", "-c", "echo begun; sleep 3000")
    user_ssh.ask("lab", "nohup sleep 3001 >/dev/null 2>&1 &")
    assert len([p for p in lab.processes() if arguments(p)[-1:] == ["3001"]]) == 1
    told = devbox(project, "down", "--yes", "--no-save").stderr
    assert "results of runs stay there" in told
    assert "may still run" not in told
    assert [command_line(p) for p in lab.processes()] == ["sleep 3001"]
    assert [path.name for path in (lab.home / ".devbox-box").iterdir()] == ["runs"]
    (run,) = (lab.home / ".devbox-box" / "runs").iterdir()
    assert run.name in started.stdout
    assert json.loads((run / "status.json").read_bytes())["state"] == "cancelled"


def test_a_box_of_another_computer_on_the_same_host_goes_on(lab: Machine, project: Path) -> None:
    devbox(project, "up")
    (lab.home / ".devbox-box" / "enter-other").write_text("#!/bin/sh\n")
    user_ssh.ask("lab", "DEVBOX_BOX_TOKEN=other nohup sleep 3002 >/dev/null 2>&1 &")
    devbox(project, "down", "--yes", "--no-save")
    assert [command_line(p) for p in lab.processes()] == ["sleep 3002"]
    assert (lab.home / ".devbox-box" / "devbox-box.pyz").exists()


def test_a_host_that_is_gone_for_good_is_given_up(lab: Machine, project: Path) -> None:
    devbox(project, "up")
    lab.off()
    refused = devbox(project, "down", "--yes", "--no-save", code=8)
    assert "devbox down b --forget" in refused.stderr
    (row,) = json.loads(devbox(project, "ls", "--json").stdout)["boxes"]
    assert row["state"] == BoxState.STOPPING
    done = devbox(project, "down", "--forget", "--yes")
    assert "b  lost  given up" in done.stdout
    assert "sed -i" in done.stderr
    (row,) = json.loads(devbox(project, "ls", "--json").stdout)["boxes"]
    assert row["state"] == BoxState.LOST
    ws = Workspace.open(project)
    box = ws.box("b")
    (stretch,) = ws.store.ledger.of_box(box.id)
    assert stretch.end == box.seen
    assert lifecycle.reconcile(ws) == []
    ws.store.close()
    lab.on()
    assert len(lab.ours) == 1
    _, _, by_hand = done.stderr.partition("until you type on it: ")
    user_ssh.ask("lab", by_hand.splitlines()[0])
    assert lab.ours == []
    devbox(project, "up")
    devbox(project, "down", "--forget", "--yes")
    assert lab.ours == []
    assert lab.processes() == []

"""A host of the person's through the real command line: up → exec → sync → down."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from devbox import lifecycle
from devbox.model import BoxState
from devbox.workspace import Workspace
from tests.providers.host.machine import Machine

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
    (folder / "main.py").write_text("print('hello')\n")
    return folder


def devbox(folder: Path, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
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
    assert any("agent" in process.cmdline() for process in lab.processes())
    assert "no pause_command" in devbox(project, "pause", code=6).stderr
    devbox(project, "down", "--yes")
    assert lab.admitted == before
    assert not any("agent" in process.cmdline() for process in lab.processes())
    assert (lab.home / "work" / "main.py").exists()
    assert "devbox-b" not in (project.parent / ".devbox" / "ssh" / "config").read_text()


def test_an_up_that_died_between_record_and_line_is_finished_by_reconcile(
    lab: Machine, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from devbox.providers.host import person

    ws = Workspace.open(project)

    def die(target: str, script: str) -> object:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(person, "ask", die)
        with pytest.raises(KeyboardInterrupt):
            lifecycle.up(ws, "b")
    assert [f.kind for f in lifecycle.reconcile(ws)] == ["finished"]
    assert ws.box("b").state is BoxState.RUNNING
    assert len(lab.ours) == 1
    lifecycle.down(ws, ws.box("b"), save=False)
    assert lab.ours == []
    ws.store.close()

"""`devbox run` runs what is here, not what was sent once: code, first runs, emptied disks."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import msgspec
import pytest

from devbox.model import Box
from devbox.remote.connection import connect
from devbox.sync import before, rsync
from devbox.workspace import Workspace
from tests.jobs.test_cli_jobs import devbox

RUN = ("run", "--", "sh", "say.sh")


@pytest.fixture
def project(local_workspace: Workspace, local_box: Box) -> Path:
    (local_workspace.spec.root / "devbox.toml").write_text("[boxes.b]\n")
    (local_workspace.spec.root / "say.sh").write_text("echo one\n")
    return local_workspace.spec.root


def said(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return "".join(line for line in done.stderr.splitlines() if line in ("one", "two", "there"))


def test_a_first_run_finds_its_file_and_the_next_one_its_edit(project: Path) -> None:
    first = devbox(project, *RUN)
    assert said(first) == "one"
    assert f"b: sent 2 files (19 B) of {project}" in first.stderr
    (project / "say.sh").write_text("echo two\n")
    assert said(devbox(project, *RUN)) == "two"
    (project / "say.sh").write_text("echo one\n")
    assert said(devbox(project, "run", "--no-sync", "--", "sh", "say.sh")) == "two"


def test_a_run_after_the_disk_was_emptied_finds_its_files(project: Path, local_box: Box) -> None:
    assert said(devbox(project, *RUN)) == "one"
    with connect(local_box) as connection:
        connection.run(["rm", "-rf", "work"])
    assert said(devbox(project, *RUN)) == "one"


def test_a_file_that_is_newer_on_the_box_is_named_and_runs_as_it_is(
    project: Path, local_box: Box
) -> None:
    devbox(project, *RUN)
    with connect(local_box) as connection:
        connection.run(["sh", "-c", "echo 'echo there' > work/say.sh; touch -d +1hour work/say.sh"])
    (project / "say.sh").write_text("echo two\n")
    done = devbox(project, *RUN)
    assert said(done) == "there"
    assert "b: newer there, and left as it is: say.sh" in done.stderr
    assert "devbox sync down b" in done.stderr


def test_an_unchanged_project_is_one_rsync(
    project: Path, local_workspace: Workspace, local_box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    ws = Workspace.open(project)
    rsync.up(ws, local_box)
    counted = project.parent / "counted"
    folder = project.parent / "bin"
    folder.mkdir()
    real = subprocess.check_output(["which", "rsync"], text=True).strip()
    (folder / "rsync").write_text(f'#!/bin/sh\necho x >> {counted}\nexec {real} "$@"\n')
    (folder / "rsync").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    lines: list[str] = []
    ws.narrate = lines.append
    report = before.send(ws, local_box)
    assert report
    assert (report.moved, lines) == ((), [])
    assert len(counted.read_text().split()) <= 2  # one to ask for its version, one that compares


def test_what_is_no_project_is_not_sent(
    home: Path, local_workspace: Workspace, local_box: Box
) -> None:
    (local_workspace.spec.root / "private.txt").write_text("x")
    assert before.send(local_workspace, local_box) is None
    (home / "devbox.toml").write_text("[boxes.b]\n")
    ws = Workspace.open(home)
    lines: list[str] = []
    ws.narrate = lines.append
    assert before.send(ws, msgspec.structs.replace(local_box, root=str(home))) is None
    assert lines == [f"b: the project was not sent: refusing to sync all of {home}"]

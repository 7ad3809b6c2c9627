"""Runs that wait, as a user types and sees them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from devbox.jobs import queue
from devbox.model import Box
from devbox.workspace import Workspace
from tests import warm
from tests.boxes import MakeBox
from tests.jobs.test_cli_jobs import DEVBOX, devbox

TOML = """
[boxes.b]
provider = "local"
max_runs = 1

[jobs.train]
command = ["true"]
gpus = 2
priority = "high"
"""


@pytest.fixture
def project(local_workspace: Workspace, local_box: Box) -> Path:
    """A project folder with one box up."""
    del local_box
    return local_workspace.spec.root


def until(file: str) -> list[str]:
    return ["sh", "-c", f"until [ -e {file} ]; do sleep 0.05; done"]


def begin(project: Path, *options: str) -> str:
    done = devbox(project, "run", "-d", "--no-sync", *options, "--", *until("go"))
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def listed(project: Path, run: str) -> dict[str, Any]:
    runs = json.loads(devbox(project, "runs", "--json").stdout)["runs"]
    found: dict[str, Any] = next(each for each in runs if each["id"] == run)
    return found


def test_a_run_after_another_is_queued_listed_followed_and_done(project: Path) -> None:
    first = begin(project)
    done = devbox(project, "run", "-d", "--no-sync", "--after", first, "--", *until("on"))
    second = done.stdout.strip()
    assert f"queued on b: waits for run {first}; follow it: devbox attach {second}" in done.stderr
    seen = listed(project, second)
    assert (seen["state"], seen["started"], seen["gpus"]) == ("queued", None, [])
    assert (seen["queue"]["waits_for"], seen["queue"]["place"]) == ("runs", None)
    (row,) = [row for row in devbox(project, "runs").stdout.splitlines() if second in row]
    assert row.rstrip().endswith(f"waits for run {first}"[:60])
    assert devbox(project, "wait", second, "--for", "queued").returncode == 0
    assert f"queue     {second} waits for run {first}\n" in devbox(project, "status", "b").stdout
    (waits,) = json.loads(devbox(project, "status", "b", "--json").stdout)["queue"]
    assert (waits["id"], waits["why"]) == (second, f"waits for run {first}")
    follower = warm.Popen(
        [*DEVBOX, "attach", second],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert follower.stderr
    said = iter(follower.stderr.readline, f"waits for run {first}\n")
    assert list(said) == []
    assert devbox(project, "run", "--no-sync", "--", "touch", "go").returncode == 0
    assert list(iter(follower.stderr.readline, "begins\n")) == []
    assert devbox(project, "run", "--no-sync", "--", "touch", "on").returncode == 0
    out, err = follower.communicate(timeout=60)
    assert (follower.returncode, out.strip()) == (0, f"results/{second}"), err
    assert "succeeded" in err
    assert listed(project, second)["queue"] is None


def test_one_whose_run_before_it_failed_is_told(project: Path) -> None:
    failed = devbox(project, "run", "-q", "--no-sync", "--", "false")
    assert failed.returncode == 11
    first = listed_first(project)
    done = devbox(project, "run", "--no-sync", "--after", first, "--", "true")
    assert done.returncode == 11
    assert f"run {first}, which it was to begin after, is failed" in done.stderr
    assert listed(project, listed_first(project))["reason"] == "after"


def listed_first(project: Path) -> str:
    return str(json.loads(devbox(project, "runs", "--json").stdout)["runs"][0]["id"])


def test_max_runs_of_devbox_toml_is_followed_by_a_box_that_runs(project: Path) -> None:
    (project / "devbox.toml").write_text(TOML)
    assert devbox(project, "up", "b").returncode == 0
    first = begin(project, "--box", "b")
    second = begin(project, "--box", "b")
    third = begin(project, "--box", "b", "--priority", "high")
    why = f"waits for a place (max_runs = 1): {first} run"
    assert listed(project, second)["queue"]["why"] == why
    assert listed(project, third)["queue"]["place"] == 1
    assert devbox(project, "cancel", third).stdout == f"{third} cancelled\n"
    assert listed(project, third)["message"] == "cancelled; it had not begun"
    assert devbox(project, "cancel", first).returncode == 0
    assert devbox(project, "wait", second, "--for", "running").returncode == 0
    asked = devbox(project, "pause", "b")
    assert second in asked.stderr, "a pause names what it cuts off"
    assert devbox(project, "cancel", second).returncode == 0


def test_what_cannot_be_is_refused_before_anything_begins(project: Path) -> None:
    (project / "devbox.toml").write_text(TOML)
    for words, code, said in (
        (["run", "train"], 4, "the run asks for 2 GPUs, and the box has none to give"),
        (["run", "--gpus", "1", "--", "true"], 4, "the run asks for 1 GPU, and the box has none"),
        (["run", "--gpus", "-1", "--", "true"], 2, "--gpus"),
        (["run", "--priority", "urgent", "--", "true"], 2, "--priority cannot be 'urgent'"),
        (["run", "--priority", "1001", "--", "true"], 2, "from -1000 to 1000"),
        (["run", "--after", "nobody", "--", "true"], 4, "no run with an id that begins with"),
    ):
        done = devbox(project, *words[:1], "--box", "b", "--no-sync", *words[1:])
        assert (done.returncode, said in done.stderr) == (code, True), done.stderr
        assert done.stdout == ""
    runs = json.loads(devbox(project, "runs", "--json").stdout)["runs"]
    assert {run["state"] for run in runs} == {"failed"}


def test_a_run_waits_for_runs_of_its_own_box_only(project: Path, make_local_box: MakeBox) -> None:
    first = begin(project, "--box", "b")
    make_local_box("other")
    done = devbox(project, "run", "--no-sync", "--box", "other", "--after", first, "--", "true")
    assert (done.returncode, f"run {first} is on b" in done.stderr) == (5, True), done.stderr
    assert devbox(project, "cancel", first).returncode == 0


def test_places_in_line_are_read_as_such() -> None:
    found = [queue.ordinal(number) for number in (1, 2, 3, 4, 11, 12, 13, 21, 112, 122)]
    assert found == ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "112th", "122nd"]

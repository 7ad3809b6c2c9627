"""What `enforce` does at a cap where a box cannot be saved, or cannot pause, and what is told
before: without a real box."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from devbox import lifecycle, process
from devbox.errors import ProviderError
from devbox.lifecycle import enforce
from devbox.model import Box, BoxState
from devbox.providers.base import Kept
from devbox.workspace import Workspace
from tests.lifecycle.cloud import COMMAND, HOUR, MINUTE, REACHED, Cloud, Pausing, a_project, told

#: dollars of a box that costs $3.60 an hour
BUDGET = "[budget]\ntotal = 36.0\n"


def kinds(done: list[enforce.Done]) -> list[str]:
    return [each.kind for each in done]


def at_cap(home: Path, cloud: Cloud, toml: str = COMMAND) -> tuple[Workspace, Box]:
    """Eight hours of its ten are gone, and its limit is now at seven."""
    box = lifecycle.up(a_project(home, cloud, toml=toml + BUDGET), "b", wait=False)
    cloud.clock.advance(8 * HOUR)
    return a_project(home, cloud, toml=toml + BUDGET.replace("36", "25")), box


def test_a_level_is_told_once_by_what_was_seen_within_minutes(home: Path) -> None:
    cloud = Pausing()
    ws = a_project(home, cloud, toml=COMMAND + BUDGET)
    lifecycle.up(ws, "b")
    assert enforce.tell(ws) == []
    cloud.clock.advance(6 * HOUR)
    assert enforce.tell(ws) == [], "what is known is old: it may have paused itself since"
    lifecycle.refresh(ws, ws.store.boxes.all())
    lines = told(ws)
    (done,) = enforce.tell(ws)
    assert (done.kind, done.box) == ("told", "")
    assert done.detail.startswith("50% of the total budget of project ")
    assert done.detail.endswith(" is spent: $21.60 of $36.00")
    assert lines == [done.detail]
    assert enforce.tell(ws) == []


def test_nothing_is_begun_until_there_is_something_to_do(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is begun then is a process of its own, which looks at the same project."""
    begun: list[list[str]] = []
    monkeypatch.setattr(process, "spawn", begun.append)
    cloud = Pausing()
    ws = a_project(home, cloud, toml=COMMAND + BUDGET)
    enforce.begin(ws)
    assert begun == []
    ws, _ = at_cap(home, cloud)
    enforce.begin(ws)
    ((python, *options, module, root),) = begun
    assert (python, options, root) == (sys.executable, ["-P", "-m"], str(ws.spec.root))
    opened: list[Path] = []

    def opens(folder: Path) -> Workspace:
        opened.append(folder)
        return ws

    monkeypatch.setattr(Workspace, "open", opens)
    monkeypatch.setattr(sys, "argv", [module, root])
    monkeypatch.delitem(sys.modules, module)
    runpy.run_module(module, run_name="__main__")
    assert opened == [ws.spec.root]
    assert ws.box("b").state is BoxState.PAUSED


def test_files_that_cannot_be_fetched_stay_where_a_pause_keeps_them(home: Path) -> None:
    ws, _ = at_cap(home, Pausing(), REACHED + '[boxes.b.sync]\ndown = ["results"]\n')
    lines = told(ws)
    assert kinds(enforce.enforce(ws)) == ["told", "paused"], "it has no address to be armed at"
    assert ws.box("b").state is BoxState.PAUSED
    assert any(line.startswith("b: its files could not be fetched") for line in lines)


def test_files_that_a_pause_would_lose_keep_the_box_running_and_that_is_told(home: Path) -> None:
    cloud = Pausing()
    cloud.kept = Kept(False, "none of its files")
    ws, _ = at_cap(home, cloud, REACHED + '[boxes.b.sync]\ndown = ["results"]\n')
    lines = told(ws)
    done = enforce.enforce(ws)[-1]
    assert (done.kind, done.box) == ("failed", "b")
    assert ws.box("b").state is BoxState.RUNNING
    said = [line for line in lines if "b is at the cap of its budget, and was not paused" in line]
    assert len(said) == 1
    enforce.enforce(ws)
    assert [line for line in lines if line in said] == said, "told once"


def test_one_that_cannot_pause_is_told_or_ended_as_the_user_says(home: Path) -> None:
    cloud = Cloud()
    ws, _ = at_cap(home, cloud)
    lines = told(ws)
    for _ in range(2):
        done = enforce.enforce(ws)[-1]
        assert done.kind == "failed"
        assert "still costs, and cannot pause" in done.detail
    assert len([line for line in lines if line.endswith("end it with: devbox down b")]) == 1
    assert ws.box("b").state is BoxState.RUNNING
    (home / ".devbox").mkdir(exist_ok=True)
    (home / ".devbox" / "config.toml").write_text("[budget]\nend_unpausable = true\n")
    ws = a_project(home, cloud, toml=COMMAND + BUDGET.replace("36", "25"))
    assert kinds(enforce.enforce(ws)) == ["ended"]
    assert cloud.there["h1"].state is BoxState.TERMINATED


def test_a_pause_that_the_provider_refuses_is_tried_by_the_next_call(home: Path) -> None:
    cloud = Pausing()
    ws, _ = at_cap(home, cloud)
    cloud.fail("pause", ProviderError("not now"), times=2)
    assert enforce.enforce(ws)[-1].detail == "not now"
    cloud.clock.advance(MINUTE)
    assert enforce.enforce(ws)[-1].kind == "paused"
    assert ws.box("b").state is BoxState.PAUSED

"""What is fetched before a box stops, and what is said of the rest: where nothing needs to be asked
of a box."""

from __future__ import annotations

from pathlib import Path

import pytest

from devbox import lifecycle
from devbox.model import Box, BoxState
from devbox.providers.base import Kept
from devbox.sync import baseline, rsync
from devbox.workspace import Workspace
from tests.lifecycle.cloud import COMMAND, HOUR, REACHED, Cloud, Pausing, a_project, told


@pytest.fixture
def ws(home: Path, cloud: Pausing) -> Workspace:
    return a_project(home, cloud, toml=REACHED)


def test_a_verb_that_its_provider_cannot_do_loses_nothing(ws: Workspace, box: Box) -> None:
    ws_of_a_job = ws
    ws_of_a_job._providers["local"] = Cloud()
    assert lifecycle.unsaved_data(ws, box, "pause") is None
    assert lifecycle.unsaved_data(ws, box, "down") is not None


def test_a_command_is_cut_off(home: Path, cloud: Pausing) -> None:
    ws = a_project(home, cloud, toml=COMMAND)
    found = lifecycle.unsaved_data(ws, lifecycle.up(ws, "b"), "down")
    assert found is not None
    assert found.lines() == ["b: its command is cut off, and what it wrote only there is lost"]


def test_what_a_pause_lost_is_told_by_the_last_that_is_known(
    ws: Workspace, box: Box, cloud: Pausing
) -> None:
    assert lifecycle.lost_by_pause(ws, box) == ""
    cloud.kept = Kept(False, "only its volumes")
    paused = lifecycle.pause(ws, box, save=False)
    kept = "the pause kept only its volumes"
    lost = f"{kept}: what changed on it there is lost unless in a volume"
    assert lifecycle.lost_by_pause(ws, paused) == lost
    stamp = baseline.Stamp(root=str(ws.spec.root), end=int(ws.clock() * 1e9))
    baseline.save(paused, stamp)
    cloud.clock.advance(HOUR)
    assert "after the last sync 1h ago" in lifecycle.lost_by_pause(ws, paused)
    ws.store.events.add(box.id, "saved", "2 files were not saved", ws.clock())
    assert lifecycle.lost_by_pause(ws, paused) == (
        f"{kept}; its watchdog's last count: 2 files were not saved"
    )


def test_files_are_fetched_only_where_the_rules_and_the_user_ask(
    home: Path, cloud: Pausing, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[bool] = []
    conflicts = tuple(rsync.Kept(f"f{n}", "changed here too") for n in range(12))

    def down(ws: Workspace, box: Box, options: rsync.Options) -> rsync.Report:
        fetched.append(options.ignored)
        return rsync.Report("down", "b", "here", "work", ("a", "c"), 2048, kept=conflicts)

    monkeypatch.setattr(rsync, "down", down)
    ws = a_project(home, cloud, toml=REACHED + "sync.before_pause = false\n")
    lines = told(ws)
    box = lifecycle.up(ws, "b", wait=False)
    lifecycle.save_before_watchdog_pause(ws, box)
    lifecycle.pause(ws, box)
    assert fetched == []
    cloud.show(box.handle, state=BoxState.RUNNING)
    lines.clear()
    lifecycle.down(ws, box, fetch_ignored=True)
    assert fetched == [True]
    assert lines[:2] == [
        "b: fetching what is newer or only there",
        "b: 2 files (2.0 KB) fetched",
    ]
    assert lines[2] == "  not fetched: f0 (changed here too)"
    assert lines[12:13] == ["  nor 2 more"]


def test_what_a_pause_keeps_is_not_fetched(ws: Workspace, box: Box) -> None:
    """It has no ssh address, and needs none for that."""
    assert lifecycle.pause(ws, box).state is BoxState.PAUSED

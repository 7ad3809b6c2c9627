"""Verbs that change boxes, as they are typed: what they refuse, list and name."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from devbox import doctor, lifecycle, spec
from devbox.cli import common
from devbox.errors import DevboxError, SyncError
from devbox.model import Box, BoxState, Price
from devbox.state.store import Store
from devbox.sync import before
from devbox.workspace import Workspace
from tests import warm
from tests.boxes import open_interval
from tests.command_line import Devbox


@pytest.fixture
def ws(project: Path) -> Iterator[Workspace]:
    (project / "devbox.toml").write_text("[boxes.b]\n[providers.local]\nprice = 1.0\n")
    opened = Workspace.open(project)
    yield opened
    for box in opened.store.boxes.all():
        if box.handle:
            lifecycle.down(opened, box, save=False)
    opened.store.close()


def tracked(root: Path, name: str = "b") -> Box:
    """A box that runs and costs, in the store alone."""
    now = 1.0
    box = Box(
        id=f"{root.name}-{name}"[:12].replace(" ", "-"), name=name, provider="hf-space",
        token=f"{root.name}-{name}", state=BoxState.RUNNING, hardware="t4", price=Price(600_000),
        created=now, updated=now, seen=now, project=root.name.replace(" ", "-"), root=str(root),
        spec=spec.encode_box(spec.BoxSpec(provider="hf-space")),
    )  # fmt: skip
    store = Store.open()
    store.boxes.finish(store.boxes.insert(box, "running", {}, now), "done", now)
    open_interval(store.ledger, box, box.price, now)
    store.close()
    return box


def folder(parent: Path, name: str) -> Path:
    root = parent / name
    root.mkdir()
    (root / "devbox.toml").write_text("[boxes.b]\n")
    return root


def test_ctrl_c_names_each_box_as_it_can_be_ended_from_here(project: Path, home: Path) -> None:
    (project / "devbox.toml").write_text("[boxes.b]\n")
    tracked(project)
    other = folder(home, "other one")
    tracked(other)
    said = common.after_interrupt()
    assert "end it with: devbox down b\n" in said
    assert f"end it with: devbox down '{other}/b'" in said
    assert f"  '{other}/b' ($0.60/h)" in said


def test_hints_about_another_projects_box_name_it_whole(
    project: Path, home: Path, devbox: Devbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "devbox.toml").write_text("[boxes.b]\n")
    other = folder(home, "other")
    box = tracked(other)
    monkeypatch.setattr(lifecycle, "resume", lambda ws, box: box)
    out = devbox("resume", "other/b").out
    assert f"devbox code {other}/b" in out
    with_intent = Store.open()
    with_intent.boxes.begin(box.id, "paused", {}, 2.0)
    with_intent.close()
    monkeypatch.setattr(lifecycle, "refresh", lambda ws, boxes: boxes)
    monkeypatch.setattr(lifecycle, "idle_status", lambda ws, box, unsynced: None)
    assert f"devbox status {other}/b --wait" in devbox("status", "other/b").out


@pytest.mark.parametrize("verb", ["pause", "down", "restart", "renew"])
def test_fetching_nothing_and_more_exclude_each_other(
    verb: str, project: Path, devbox: Devbox
) -> None:
    (project / "devbox.toml").write_text("[boxes.b]\n")
    tracked(project)
    done = devbox(verb, "b", "--no-save", "--fetch-ignored", "--yes")
    assert done.code == 2
    assert "--no-save and --fetch-ignored exclude each other" in done.err
    assert f"devbox {verb} --help" in done.err


def test_giving_up_on_a_box_that_answers_lists_what_it_loses(
    ws: Workspace, devbox: Devbox, home: Path
) -> None:
    box = lifecycle.up(ws, "b")
    (home / ".devbox" / "local" / box.token / "home" / "precious.bin").write_text("x")
    done = devbox("down", "b", "--forget", "--yes")
    assert done.code == 0
    assert "precious.bin" in done.err
    assert "fetched first" not in done.err
    assert "whatever runs on its machine continues" in done.err


def test_giving_up_needs_no_provider_that_can_be_loaded(
    ws: Workspace, devbox: Devbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = lifecycle.up(ws, "b")

    def fails(*_: object, **__: object) -> None:
        raise DevboxError("its client is not installed")

    with monkeypatch.context() as patched:
        patched.setattr(lifecycle, "unsaved_data", fails)
        done = devbox("down", "b", "--forget", "--yes")
    assert done.code == 0, done.err
    assert ws.box(box.name).state.is_over


def test_a_wait_of_no_time_is_refused(ws: Workspace, devbox: Devbox) -> None:
    done = devbox("up", "b", "--timeout", "0s")
    assert done.code == 2
    assert "--timeout must be above 0" in done.err
    assert ws.store.boxes.all() == []


def test_a_sync_that_fails_after_up_says_that_the_box_is_up_and_costs(
    ws: Workspace, devbox: Devbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise SyncError("rsync was cut", means="half of it is there")

    monkeypatch.setattr(before, "send", fails)
    done = devbox("up", "b")
    assert done.code == 10
    assert "b is up: it is still costing $1.00/h; half of it is there" in done.err


def test_ls_without_boxes_names_what_is_still_to_do(project: Path, devbox: Devbox) -> None:
    assert "devbox init && devbox up" in devbox("ls").err
    (project / "devbox.toml").write_text("[boxes.b]\n")
    assert "make one with: devbox up" in devbox("ls").err


def test_the_doctor_resumes_only_what_is_paused(ws: Workspace, home: Path) -> None:
    box = tracked(folder(home, "other"))
    for state, verb in ((BoxState.PAUSED, "resume"), (BoxState.FAILED, "up")):
        (check,) = doctor.box(ws, msgspec.structs.replace(box, state=state))
        assert check.fix == f"devbox {verb} b"


def test_a_retry_runs_what_is_here_now(ws: Workspace, project: Path) -> None:
    lifecycle.up(ws, "b")

    def said(*words: str) -> str:
        argv = [sys.executable, "-m", "devbox.cli.main", *words]
        done = warm.run(argv, cwd=project, capture_output=True, text=True, check=False)
        assert done.returncode == 11, done.stderr
        return str(done.stderr)

    (project / "say.sh").write_text("echo one; exit 3\n")
    assert "\none\n" in said("run", "--", "sh", "say.sh")
    (project / "say.sh").write_text("echo two; exit 3\n")
    assert "\ntwo\n" not in said("retry", "--no-sync")
    assert "\ntwo\n" in said("retry")


def test_the_only_box_needs_no_name_to_be_kept(devbox: Devbox, project: Path) -> None:
    (project / "devbox.toml").write_text("[boxes.b]\n")
    assert devbox("up").code == 0
    try:
        assert devbox("keep", "2h").code == 0
        assert devbox("keep", "b", "--json", "2h").data["box"] == "b"
        assert devbox("keep", "b", "c", "2h").code == 2
        assert devbox("keep").code == 2
    finally:
        devbox("down", "--yes", "--no-save")

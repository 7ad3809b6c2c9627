"""Nothing that a run made is lost without a word when its box ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from devbox import lifecycle
from devbox.jobs import catalogue, control, fetch
from devbox.jobs.follow import follow
from devbox.jobs.submit import retry, submit
from devbox.model import Box, BoxState, Run
from devbox.workspace import Workspace

MADE = "every other file on it is also on this computer"


@pytest.fixture
def box(ws: Workspace) -> Box:
    return lifecycle.up(ws, "b")


def ended(ws: Workspace, box: Box, script: str) -> Run:
    run = submit(ws, box, catalogue.bare(("sh", "-c", script)), {}, {})
    for _ in follow(ws, run):
        pass
    return control.refresh(ws, [run])[0]


def test_results_that_were_never_fetched_are_named_then_saved(ws: Workspace, box: Box) -> None:
    run = ended(ws, box, "echo precious >$DEVBOX_OUT/model.pt")
    ended(ws, box, "true")
    named = f"b: the results of run {run.id} were never fetched (devbox attach {run.id})"
    assert lifecycle.losses(ws, box) == [named, f"b: {MADE}"]
    assert lifecycle.down(ws, box).state is BoxState.TERMINATED
    kept = fetch.default_folder(ws, run) / "model.pt"
    assert kept.read_text() == "precious\n"


def test_what_was_fetched_anywhere_is_not_named_again(ws: Workspace, box: Box, home: Path) -> None:
    run = ended(ws, box, "echo precious >$DEVBOX_OUT/model.pt")
    fetch.fetch(ws, run, home / "elsewhere")
    assert lifecycle.losses(ws, box) == ["b: every file on it is also on this computer"]
    again = retry(ws, run)
    for _ in follow(ws, again):
        pass
    assert "were never fetched" in lifecycle.losses(ws, box)[0]


def test_a_run_that_goes_on_is_named(ws: Workspace, box: Box) -> None:
    run = submit(ws, box, catalogue.bare(("sleep", "300")), {}, {})
    assert lifecycle.losses(ws, box)[0] == f"b: run {run.id} has not ended: this ends it"
    control.cancel(ws, run)
    assert lifecycle.losses(ws, box) == ["b: every file on it is also on this computer"]


def test_saving_can_be_declined(ws: Workspace, box: Box) -> None:
    run = ended(ws, box, "echo precious >$DEVBOX_OUT/model.pt")
    lifecycle.down(ws, box, save=False)
    assert not fetch.default_folder(ws, run).exists()

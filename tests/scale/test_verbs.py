"""Verbs of runs that are given a batch: as of a run, or refused with what to type instead."""

from __future__ import annotations

import pytest

from devbox.model import Batch, Piece, PieceState, RunState
from devbox.scale import batch as batches
from devbox.scale import control
from devbox.scale.batch import Asked
from devbox.workspace import Workspace
from tests.scale.conftest import Shop

ID = "copy-20261129-100000-ab12"


def put(workshop: Shop, state: RunState) -> Workspace:
    """A batch with a failed piece, with no worker and no box."""
    ws = Workspace.open(workshop.root)
    request = b'{"input":"texts","source":"texts","least":1,"most":1,"no_setup":true}'
    batch = Batch(ID, "copy", "w", str(workshop.root), state, 10.0, request=request)
    ws.store.batches.insert(batch, [Piece("t.txt", 1.0, PieceState.FAILED, error="bad")])
    return ws


@pytest.mark.parametrize("state", [RunState.RUNNING, RunState.FAILED])
@pytest.mark.parametrize(
    ("words", "what", "means", "fix"),
    [
        (("wait",), "wait is for a run on one box", "nothing was changed", "attach"),
        (("wait", ID, "--for", "ended"), "wait is for", "nothing was changed", "attach"),
        (("attach", ID, "--no-wait"), "--no-wait is for", "nothing was fetched", "attach"),
        (("attach", ID, "--dest", "d"), "--dest is for", "nothing was started", "leave out"),
        (("retry", ID, "--dest", "d"), "--dest is for", "nothing was started", "leave out"),
    ],
)
def test_what_a_batch_has_no_use_for_is_refused(
    workshop: Shop, state: RunState, words: tuple[str, ...], what: str, means: str, fix: str
) -> None:
    put(workshop, state).store.close()
    done = workshop.devbox(*words)
    assert done.returncode == 2
    for told in (what, means, fix):
        assert told in done.stderr
    assert not (workshop.root / "d").exists()


def test_a_run_cannot_begin_after_a_batch(workshop: Shop) -> None:
    put(workshop, RunState.RUNNING).store.close()
    assert workshop.devbox("up", "w").returncode == 0
    done = workshop.devbox("run", "--after", ID, "--", "true")
    assert done.returncode == 2
    assert f"devbox attach {ID}" in done.stderr
    assert [run["id"] for run in workshop.json("runs")["runs"]] == [ID]


def test_a_retry_sends_the_project_unless_told_not_to(workshop: Shop) -> None:
    """As of a run, whatever the batch was begun with."""
    ws = put(workshop, RunState.FAILED)
    asked = batches.asked(control.retry(ws, ws.store.batches.latest()[0]))
    assert asked == Asked("texts", "texts", 1, 1)
    ws.store.batches.end(ID, RunState.FAILED, "", 20.0)
    batch = ws.store.batches.latest()[0]
    asked = batches.asked(control.retry(ws, batch, no_sync=True, no_setup=True))
    assert (asked.no_sync, asked.no_setup) == (True, True)
    ws.store.close()

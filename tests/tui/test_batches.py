"""A batch at one of its workers: one run, with all parts below it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec

from devbox.model import Batch, Piece, PieceState, Run, RunState
from devbox.scale import batch as batches
from devbox.tui import run_views
from devbox.tui.feed import RunView
from devbox.workspace import Workspace
from tests.tui import fakes, fleets
from tests.tui.conftest import Open

ID = "depth-20260721-150000-abcd"
BATCH = Batch(ID, "depth", "train", "/p", RunState.RUNNING, fakes.NOW - 60)
PIECES = [
    Piece("a", 1.0, PieceState.DONE),
    Piece("b", 1.0, PieceState.FAILED, error="no depth in it"),
    *(Piece(name, 1.0) for name in "cdefgh"),
]


def _part(number: int, box_id: str, box_name: str) -> Run:
    state = RunState.RUNNING
    return fakes.run(
        number, state, id=f"{ID}-w{number}", box_id=box_id, box_name=box_name, batch=ID
    )


def test_a_box_shows_its_batches_with_all_parts_and_its_own_runs(
    local_workspace: Workspace,
) -> None:
    store = local_workspace.store
    store.batches.insert(BATCH, PIECES)
    store.batches.record(ID, PIECES)
    own = fakes.run(5, RunState.SUCCEEDED)
    parts = [_part(1, "id-train", "train"), _part(2, "id-lab", "lab")]
    for run in (own, *parts):
        store.runs.put(run)
    whole, *rest = run_views.of_box(local_workspace, "id-train")
    assert whole.is_batch
    assert (whole.run.id, whole.run.box_id, whole.run.state) == (ID, "id-train", "running")
    assert [view.run for view in rest] == [*parts, own]
    assert not any(view.is_batch for view in rest)
    assert [view.run for view in run_views.of_box(local_workspace, "id-lab")[1:]] == parts


def test_runs_of_no_batch_are_shown_without_what_takes_long_to_load(
    local_workspace: Workspace,
) -> None:
    local_workspace.store.runs.put(fakes.run(5, RunState.SUCCEEDED))
    code = (
        "import json, sys\n"
        "from pathlib import Path\n"
        "import devbox.tui.start\n"
        "from devbox.tui import run_views\n"
        "from devbox.workspace import Workspace\n"
        "shown = run_views.of_box(Workspace.open(Path.cwd()), 'id-train')\n"
        "print(json.dumps([len(shown), sorted(sys.modules)]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    shown, loaded = json.loads(done.stdout)
    assert shown == 1
    assert not {"devbox.scale.batch", "devbox.lifecycle", "devbox.sync.rsync"} & set(loaded)


async def test_the_jobs_tab_has_it_as_one_run_that_can_be_cancelled(
    dashboard: Open, local_workspace: Workspace
) -> None:
    store = local_workspace.store
    store.batches.insert(BATCH, PIECES)
    store.batches.record(ID, PIECES)
    whole = batches.as_run(local_workspace, BATCH, "id-train")
    feed = fleets.fleet()
    feed.box_runs["id-train"] = [
        RunView(whole, 900_000, is_batch=True),
        RunView(_part(1, "id-train", "train"), 500_000),
        RunView(_part(2, "id-lab", "lab"), 400_000),
    ]
    async with dashboard(feed=feed) as it:
        await it.select("train")
        await it.press("2", "enter")
        for words in (ID, "2/8", "  w1 train", "  w2 lab", "$0.90"):
            assert words in it.text
        assert "b: no depth in it" in it.text
        await it.press("c")
        await it.until(lambda: it.dialog == "Confirm")
        await it.press("right", "enter")
        await it.until(lambda: ("cancel", ID) in it.operations.begun)


def test_what_stands_for_a_batch_is_never_written_among_the_runs(
    local_workspace: Workspace, home: Path
) -> None:
    del home
    store = local_workspace.store
    store.batches.insert(BATCH, PIECES)
    store.runs.put(_part(1, "id-train", "train"))
    views = run_views.of_box(local_workspace, "id-train")
    run_views.refresh(local_workspace, [view.run for view in views if not view.is_batch])
    assert store.runs.get(ID) is None
    assert msgspec.json.decode(views[0].run.request) == {}

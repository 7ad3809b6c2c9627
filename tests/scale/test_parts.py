"""A worker's part of a batch as the run on its box that it is."""

from __future__ import annotations

from devbox.jobs import fetch, queries
from devbox.workspace import Workspace
from tests.jobs.conftest import until
from tests.scale.conftest import Shop


def test_results_that_nobody_merged_are_fetched_with_their_part(workshop: Shop) -> None:
    """As before a pause of its box. What was sent there does not come back."""
    workshop.texts(6)
    done = workshop.devbox("run", "copy", "--workers", "2", "--detach", "--", "--texts", "texts")
    assert done.returncode == 0, done.stderr
    ws = Workspace.open(workshop.root)
    parts = [run for run in ws.store.runs.latest(parts=True) if run.batch]
    assert len(parts) == 2
    until(lambda: all(run.state.is_over for run in queries.refresh(ws, parts)))
    made: set[str] = set()
    for run in queries.refresh(ws, parts):
        box = ws.store.boxes.get(run.box_id)
        assert box
        assert [each.id for each in fetch.unfetched(ws, box).made] == [run.id]
        folder = fetch.fetch(ws, run)
        assert not fetch.unfetched(ws, box).made
        made |= {path.name for path in folder.glob("rounds/*/out/*.out")}
        assert not list(folder.rglob("t0*.txt"))
    ws.store.close()
    assert made == {f"t{n:04}.txt.out" for n in range(6)}

"""A batch is one run in what was spent, whatever its boxes cost."""

from __future__ import annotations

from devbox.model import Batch, Price, Run, RunState
from devbox.state import run_spending, spending
from devbox.state.store import Store
from tests.boxes import open_interval
from tests.core.test_state import HOUR, a_box

T0 = 1_780_000_000.0


def part(number: int, hours: float, items: int) -> Run:
    status = b'{"counts": {"total": 20, "done": %d}}' % items
    box = f"w-{number}"
    return Run(
        f"b1-w{number}",
        f"id-{box}",
        box,
        "track",
        RunState.SUCCEEDED,
        T0,
        T0,
        T0 + hours * HOUR,
        status=status,
        batch="b1",
    )


def test_a_batch_is_one_row_with_the_sums_of_its_parts() -> None:
    store = Store.open()
    store.batches.insert(Batch("b1", "track", "w", "/p", RunState.SUCCEEDED, T0), [])
    for number, price in ((1, 3_600_000), (2, 1_800_000), (3, None)):
        open_interval(store.ledger, a_box(f"w-{number}"), Price(price), T0)
    for each in (part(1, 2, 10), part(2, 1, 4)):
        store.runs.put(each)
    store.runs.put(Run("own", "id-w-1", "w-1", "track", RunState.SUCCEEDED, T0, T0, T0 + HOUR))
    now = T0 + 24 * HOUR
    batch, own = spending.report(store.database, "run", now)
    assert (batch.key, batch.cost, batch.seconds) == ("b1", 9_000_000, 3 * HOUR)
    assert (batch.runs, batch.items, batch.total) == (1, 14, 9_000_000)
    assert (own.key, own.cost) == ("own", 3_600_000)
    (job,) = spending.report(store.database, "job", now)
    assert (job.key, job.runs, job.items, job.cost) == ("track", 2, 14, 12_600_000)
    found = {run.id: run for run in run_spending.runs(store.database, T0, now)}
    assert {run.box_name for run in found.values()} == {"w", "w-1"}
    store.runs.put(part(3, 1, 0))
    row = {line.key: line for line in spending.report(store.database, "run", now)}["b1"]
    assert (row.total, row.cost, row.unknown_seconds) == (None, 9_000_000, HOUR)


def test_a_part_whose_batch_was_lost_is_told_with_the_others() -> None:
    store = Store.open()
    open_interval(store.ledger, a_box("w-1"), Price(3_600_000), T0)
    store.runs.put(part(1, 1, 2))
    (run,) = run_spending.runs(store.database, T0, T0 + 24 * HOUR)
    assert (run.id, run.box_name, run.cost) == ("b1", "w-1", 3_600_000)

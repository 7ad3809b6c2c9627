"""What a batch costs: what its boxes cost for it, in whole billing units. An hour costs $3.60."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from devbox.model import Batch, Interval, Price, Run, RunState, Worker
from devbox.scale.batch import Asked
from devbox.scale.cost import batch_cost
from devbox.spec import Spec
from devbox.wire import codec
from devbox.wire.jobs import Attempt, JobStatus
from devbox.workspace import Workspace
from tests.core.test_state import a_box

BEGAN, NOW = 1000.0, 2000.0
PRICE = Price(3_600_000, "config")


@pytest.fixture
def ws(home: Path) -> Workspace:
    return Workspace(Spec(project="p", root=home), clock=lambda: NOW)


def a_batch(ws: Workspace, *, then: bool = False) -> Batch:
    asked = Asked("clips", "/p/clips", 1, 1, then="down" if then else None)
    request = msgspec.json.encode(asked)
    batch = Batch("b", "track", "w", "/p", RunState.RUNNING, BEGAN, request=request)
    ws.store.batches.insert(batch, [])
    return batch


def a_worker(
    ws: Workspace,
    created: float,
    billed: tuple[float, float | None],
    *worked: tuple[float, float | None],
    price: Price = PRICE,
) -> None:
    """Its box, when that was billed, and when its part ran."""
    number = len(ws.store.batches.workers("b")) + 1
    box = a_box(f"w-{number}", created=created)
    ws.store.boxes.insert(box, "running", {}, created)
    ws.store.ledger.put(Interval(0, box.id, box.name, "local", "cpu", price, *billed))
    run = f"b-w{number}" if worked else ""
    ws.store.batches.record("b", (), [Worker(number, box.name, box_id=box.id, run=run)])
    if worked:
        seen = JobStatus(id=run, attempts=tuple(Attempt(*each) for each in worked))
        ws.store.runs.put(
            Run(
                id=run,
                box_id=box.id,
                box_name=box.name,
                job="track",
                state=RunState.RUNNING,
                created=worked[0][0],
                started=worked[0][0],
                status=codec.encode(seen),
                batch="b",
            )
        )


def seconds(ws: Workspace, batch: Batch) -> float:
    cost = batch_cost(ws, batch)
    assert cost is not None
    return cost / 1000


def test_a_box_of_its_own_costs_from_its_start_and_another_while_its_part_ran(
    ws: Workspace,
) -> None:
    batch = a_batch(ws)
    a_worker(ws, 1001.0, (1010.0, None), (1100.0, 1200.0))
    assert seconds(ws, batch) == 190
    a_worker(ws, 500.0, (500.0, None), (1100.0, 1200.0), (1300.0, None))
    assert seconds(ws, batch) == 190 + 100 + 700


def test_a_box_that_is_brought_up_again_for_it_costs_from_there(ws: Workspace) -> None:
    batch = a_batch(ws)
    for created, begun in ((1001.0, 1010.0), (500.0, 500.0)):
        a_worker(ws, created, (begun, 1160.0), (1100.0, 1150.0), (1400.0, 1500.0))
        (box,) = (each for each in ws.store.boxes.all() if each.created == created)
        again = Interval(0, box.id, box.name, "local", "cpu", PRICE, 1300.0, None)
        ws.store.ledger.put(again)
    assert seconds(ws, batch) == (140 + 200) + (50 + 200)


def test_a_box_that_stayed_up_until_a_retry_costs_nothing_for_it_meanwhile(ws: Workspace) -> None:
    batch = a_batch(ws)
    a_worker(ws, 1001.0, (1010.0, None), (1100.0, 1150.0), (1400.0, 1500.0))
    assert seconds(ws, batch) == 140 + 100


def test_what_ends_a_box_after_its_part_belongs_to_it(ws: Workspace) -> None:
    batch = a_batch(ws, then=True)
    a_worker(ws, 1001.0, (1010.0, 1230.0), (1100.0, 1200.0))
    a_worker(ws, 500.0, (500.0, 1207.0), (1100.0, 1200.0))
    a_worker(ws, 1001.0, (1010.0, None), (1100.0, 1990.0))
    assert seconds(ws, batch) == 220 + 107 + 990


def test_a_box_on_which_no_part_began_costs_too(ws: Workspace) -> None:
    batch = a_batch(ws)
    a_worker(ws, 1001.0, (1010.0, None))
    assert seconds(ws, batch) == 990
    ended = msgspec.structs.replace(batch, ended=1500.0)
    assert seconds(ws, ended) == 490
    a_worker(ws, 500.0, (500.0, None))
    assert seconds(ws, ended) == 490, "what was there already costs nothing for it"


def test_a_box_that_is_coming_up_or_never_came_up_costs_too(ws: Workspace) -> None:
    """Its id is in no row of a worker: the coordinator was killed first, or its start failed."""
    batch = a_batch(ws)
    for name, created in (("w-1", 900.0), ("w-2", 1001.0)):  # the first was there before
        box = msgspec.structs.replace(a_box(name, created=created), root="/p")
        ws.store.boxes.insert(box, "running", {}, created)
        ws.store.ledger.put(Interval(0, box.id, name, "local", "cpu", PRICE, 1010.0, 1110.0))
    ws.store.batches.record("b", (), [Worker(1, "w-1"), Worker(2, "w-2")])
    assert seconds(ws, batch) == 100


def test_a_minute_that_has_begun_before_the_part_counts_whole(ws: Workspace) -> None:
    batch = a_batch(ws)
    a_worker(ws, 1001.0, (1010.0, None), (1020.0, 1040.0), price=Price(3_600_000, "live", 60))
    assert seconds(ws, batch) == 60


def test_an_unknown_price_makes_no_cost(ws: Workspace) -> None:
    batch = a_batch(ws)
    a_worker(ws, 1001.0, (1010.0, None), (1100.0, 1200.0))
    a_worker(ws, 1001.0, (1010.0, None), (1100.0, 1200.0), price=Price(None, "unknown"))
    assert batch_cost(ws, batch) is None

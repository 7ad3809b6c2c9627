"""A thousand pieces over six boxes, through everything that can be lost at once: each piece is in
the results once, the cost is the sum of the parts' and what was billed, nothing is left running."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devbox.state.costs import run_cost
from tests.jobs.conftest import until
from tests.scale.worlds import WORLDS, World, cut_connections, kill_program, world

PIECES = 1000
_SEED = 4


@pytest.fixture(params=WORLDS)
def there(
    request: pytest.FixtureRequest, home: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    with world(request.param, home, monkeypatch.setenv) as made:
        yield made


@pytest.mark.timeout(600)
def test_a_thousand_pieces_through_everything_at_once(there: World) -> None:
    """Boxes are taken away, programs of workers killed and all connections cut, each twice, at
    moments and of workers that are drawn; the devbox that gives out rounds is killed between."""
    shop, chance = there.shop, random.Random(_SEED)
    shop.texts(PIECES)
    words = ("--then", "down", "--", "--texts", "texts", "--seconds", "0.05")
    running = shop.start("run", "copy", "--workers", "6", *words)
    steps: list[Callable[[], object]] = [
        lambda: there.take_away(chance.choice(until(there.workers))[0]),
        lambda: until(lambda: kill_program(chance.choice(until(there.workers))[1])),
        cut_connections,
    ]
    moments = iter(sorted(chance.sample(range(30, 600), 6)))
    for step in chance.sample(steps, 3):
        step_at(there, next(moments), step, running.poll)
    running.send_signal(signal.SIGKILL)
    running.wait(60)
    with shop.start("attach") as again:
        for step in chance.sample(steps, 3):
            step_at(there, next(moments), step, again.poll)
        assert again.wait(300) == 0, shop.said
    shop.require_all(PIECES)
    batch = shop.batch()
    assert (batch["state"], batch["counts"]["done"]) == ("succeeded", PIECES)
    require_noticed(there)
    require_billed(there)
    assert not there.left()


def step_at(
    there: World, count: int, step: Callable[[], object], ended: Callable[[], object]
) -> None:
    """Do it when so many results are here, while the batch is worked on."""
    until(lambda: there.shop.made > count or ended() is not None)
    assert ended() is None, there.shop.said
    step()


def require_noticed(there: World) -> None:
    """A box that was taken away is over for its worker, or was brought up again for it."""
    assert len(there.gone) == 2
    with there.shop.workspace() as ws:
        (batch,) = ws.store.batches.latest(1)
        lost = {w.box_id for w in ws.store.batches.workers(batch.id) if w.state == "lost"}
        lives = {box_id: len(ws.store.ledger.of_box(box_id)) for box_id in there.gone}
    assert all(box_id in lost or lives[box_id] > 1 for box_id in there.gone)


def require_billed(there: World) -> None:
    """The batch costs what all of its boxes cost, and each life of those what it was billed."""
    with there.shop.workspace() as ws:
        boxes = ws.store.boxes.all(over=True)
        spans = [each for box in boxes for each in ws.store.ledger.of_box(box.id)]
    now = time.time()
    if there.meter:
        billed = sorted(each.cost(now) for each in there.meter.intervals())
        assert sorted(run_cost([each], 0.0, now) or 0 for each in spans) == pytest.approx(
            billed, rel=0.01
        )
    total = there.shop.batch()["cost_micro_dollars"]
    assert total == pytest.approx(run_cost(spans, 0.0, now), abs=len(spans))
    assert total > 0

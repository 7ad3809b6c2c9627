"""A thousand pieces over six boxes, through everything that can be lost at once: each piece is in
the results once, the cost is the sum of the parts' and what was billed, nothing is left running."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
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
    lost = Counter(worker["state"] for worker in batch["workers"])["lost"]
    assert lost >= 2, "and who was just coming up when the connections were cut"
    require_billed(there)
    assert not there.left()


def step_at(
    there: World, count: int, step: Callable[[], object], ended: Callable[[], object]
) -> None:
    """Do it when so many results are here, while the batch is worked on."""
    until(lambda: there.shop.made > count or ended() is not None)
    assert ended() is None, there.shop.said
    step()


def require_billed(there: World) -> None:
    """The batch costs what all of its boxes cost, and each of those what its provider bills."""
    with there.shop.workspace() as ws:
        boxes = ws.store.boxes.all(over=True)
        spans = {box.handle: ws.store.ledger.of_box(box.id) for box in boxes}
    costs = {handle: run_cost(each, 0.0, time.time()) for handle, each in spans.items()}
    if there.meter:
        billed = {handle: there.meter.total(handle.rpartition("/")[2]) for handle in costs}
        assert costs == pytest.approx(billed, rel=0.01)
        assert len(there.meter.intervals()) == len(boxes)
    total = there.shop.batch()["cost_micro_dollars"]
    assert total == pytest.approx(sum(each or 0 for each in costs.values()), abs=len(boxes))
    assert total > 0

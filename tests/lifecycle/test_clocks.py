"""A provider's clock that runs ahead: no cost is negative, no stretch begins after now."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from devbox import lifecycle
from devbox.lifecycle.merge import Answer
from devbox.lifecycle.observe import apply_observation
from devbox.lifecycle.operation import BoxOperation
from devbox.model import Box, BoxState
from devbox.providers.base import Observation
from devbox.state.spending import spent_by_box
from devbox.workspace import Workspace
from tests.lifecycle.cloud import Cloud, a_project

AHEAD = 600.0


@pytest.fixture
def ws(home: Path) -> Workspace:
    return a_project(home, Cloud())


@pytest.fixture
def box(ws: Workspace) -> Box:
    made = lifecycle.up(ws, "b")
    with ws.store.database.write() as connection:
        connection.execute("DELETE FROM intervals")
    return made


def _seen(ws: Workspace, box: Box, state: BoxState, **times: Any) -> Answer:
    billed = state is BoxState.RUNNING
    seen = Observation(box.handle, box.name, box.token, state, billed=billed, **times)
    return Answer(seen, asked=ws.clock())


def test_a_start_that_lies_ahead_is_taken_for_now(ws: Workspace, box: Box) -> None:
    now = ws.clock()
    after = apply_observation(
        BoxOperation(ws, box), _seen(ws, box, BoxState.RUNNING, billed_since=now + AHEAD)
    )
    interval = ws.store.ledger.current(box.id)
    assert interval is not None
    assert interval.start <= ws.clock()
    assert after.started is not None
    assert after.started <= ws.clock()
    soon = ws.clock() + 1
    assert min(v or 0 for v in spent_by_box(ws.store.database, 0, soon, soon).values()) >= 0


def test_an_end_that_lies_ahead_is_taken_for_now(ws: Workspace, box: Box) -> None:
    start = ws.clock() - 100
    apply_observation(BoxOperation(ws, box), _seen(ws, box, BoxState.RUNNING, billed_since=start))
    times = {"billed_since": start, "ended_at": ws.clock() + AHEAD}
    apply_observation(BoxOperation(ws, box), _seen(ws, box, BoxState.PAUSED, **times))
    (interval,) = ws.store.ledger.of_box(box.id)
    assert interval.end is not None
    assert interval.end <= ws.clock()


def test_a_stretch_nobody_watched_keeps_its_length(ws: Workspace, box: Box) -> None:
    now = ws.clock()
    times = {"billed_since": now + AHEAD - 100, "ended_at": now + AHEAD}
    apply_observation(BoxOperation(ws, box), _seen(ws, box, BoxState.PAUSED, **times))
    (interval,) = ws.store.ledger.of_box(box.id)
    assert interval.end is not None
    assert interval.end <= ws.clock()
    assert interval.end - interval.start == pytest.approx(100, abs=1)

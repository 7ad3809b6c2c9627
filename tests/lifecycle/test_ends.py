"""When a box ended that nobody watched ending."""

from __future__ import annotations

from pathlib import Path

import pytest

from devbox import lifecycle
from devbox.model import BoxState
from devbox.workspace import Workspace
from tests.lifecycle.cloud import HOUR, MINUTE, Cloud, a_project


class Crash(BaseException):
    """The process is gone."""


@pytest.fixture
def cloud() -> Cloud:
    return Cloud()


@pytest.fixture
def ws(home: Path, cloud: Cloud) -> Workspace:
    return a_project(home, cloud)


def test_an_end_found_an_hour_after_a_crash_is_billed_to_when_it_was_asked_for(
    ws: Workspace, cloud: Cloud
) -> None:
    """Its provider no longer knows it by then."""
    box = lifecycle.up(ws, "b")
    cloud.clock.advance(MINUTE)

    def crash(step: str, phase: str) -> None:
        if (step, phase) == ("terminate", "after"):
            raise Crash

    ws.on_step = crash
    with pytest.raises(Crash):
        lifecycle.down(ws, box)
    asked = ws.clock()
    ws.on_step = lambda *_: None
    del cloud.there[box.handle]
    cloud.clock.advance(HOUR)
    assert [f.kind for f in lifecycle.reconcile(ws)] == ["finished"]
    assert ws.box("b").state is BoxState.TERMINATED
    (interval,) = ws.store.ledger.of_box(box.id)
    assert interval.end == asked

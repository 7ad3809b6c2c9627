"""A provider is asked about a box only when it may know it."""

from __future__ import annotations

from typing import Any

import pytest

from devbox import lifecycle
from devbox.model import BoxState
from devbox.providers.base import Request
from devbox.workspace import Workspace
from tests.faults.tripwire import Tripwire


class Crash(BaseException):
    """The process is gone."""


@pytest.fixture
def trip(ws: Workspace) -> Tripwire:
    made = Tripwire(None)
    made.on_provider(ws.provider("local"))
    return made


def test_a_new_box_is_not_looked_for(ws: Workspace, trip: Tripwire) -> None:
    lifecycle.up(ws, "b")
    assert trip.routes[0] == "create"
    assert "find" not in trip.routes


def test_one_whose_create_was_begun_is_looked_for(
    ws: Workspace, trip: Tripwire, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = ws.provider("local")
    create = provider.create

    def cut_off(request: Request) -> str:
        create(request)
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(provider, "create", cut_off)
        with pytest.raises(Crash):
            lifecycle.up(ws, "b")
    trip.routes.clear()
    assert lifecycle.down(ws, ws.box("b"), save=False).state is BoxState.TERMINATED
    assert trip.routes[0] == "find"
    assert "terminate" in trip.routes


def test_one_that_was_only_journalled_is_given_up_at_once(
    ws: Workspace, trip: Tripwire, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = ws.provider("local")
    provider.find_lag = 60.0
    begin = ws.store.boxes.insert

    def die(*args: Any, **named: Any) -> int:
        begin(*args, **named)
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(ws.store.boxes, "insert", die)
        with pytest.raises(Crash):
            lifecycle.up(ws, "b")
    assert [f.kind for f in lifecycle.reconcile(ws)] == ["given-up"]
    assert "create" not in trip.routes

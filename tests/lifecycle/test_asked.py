"""A provider is asked about a box only when it may know it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from devbox import lifecycle
from devbox.model import BoxState
from devbox.workspace import Workspace
from tests.lifecycle.cloud import Cloud, a_project


class Crash(BaseException):
    """The process is gone."""


@pytest.fixture
def cloud() -> Cloud:
    return Cloud()


@pytest.fixture
def ws(home: Path, cloud: Cloud) -> Workspace:
    return a_project(home, cloud)


def test_a_new_box_is_not_looked_for(ws: Workspace, cloud: Cloud) -> None:
    lifecycle.up(ws, "b")
    assert cloud.calls == ["offers", "identity", "create", "observe"]


def test_one_whose_create_was_begun_is_looked_for(ws: Workspace, cloud: Cloud) -> None:
    cloud.fail("create", after=Crash())
    with pytest.raises(Crash):
        lifecycle.up(ws, "b")
    cloud.calls.clear()
    assert lifecycle.down(ws, ws.box("b")).state is BoxState.TERMINATED
    assert cloud.calls == ["identity", "find", "terminate", "observe"]


def test_one_that_was_only_journalled_is_given_up_at_once(
    ws: Workspace, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.find_lag = 60.0
    begin = ws.store.boxes.insert

    def die(*args: Any, **named: Any) -> int:
        begin(*args, **named)
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(ws.store.boxes, "insert", die)
        with pytest.raises(Crash):
            lifecycle.up(ws, "b")
    assert [f.kind for f in lifecycle.reconcile(ws)] == ["given-up"]
    assert "create" not in cloud.calls

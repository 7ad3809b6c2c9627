"""`down --forget`: a box whose end nobody confirms is dropped, and counted until then."""

from __future__ import annotations

from pathlib import Path

import pytest

from devbox import lifecycle
from devbox.errors import AuthError, Gone
from devbox.model import Box, BoxState
from devbox.workspace import Workspace
from tests.lifecycle.cloud import HOUR, MINUTE, Cloud, a_project, told

NOT_CONFIRMED = "given up, its end is not confirmed: "


@pytest.fixture
def cloud() -> Cloud:
    return Cloud()


@pytest.fixture
def ws(home: Path, cloud: Cloud) -> Workspace:
    return a_project(home, cloud)


def end(ws: Workspace, box: Box) -> float | None:
    """Of its only interval."""
    (interval,) = ws.store.ledger.of_box(box.id)
    return interval.end


def test_one_that_can_be_ended_is_ended(ws: Workspace, cloud: Cloud) -> None:
    box = lifecycle.forget(ws, lifecycle.up(ws, "b"))
    assert (box.state, box.given_up) == (BoxState.TERMINATED, False)
    assert cloud.there["h1"].state is BoxState.TERMINATED
    cloud.calls.clear()
    assert lifecycle.forget(ws, box) == box
    assert cloud.calls == []


def test_one_that_is_gone_is_over(ws: Workspace, cloud: Cloud) -> None:
    box = lifecycle.up(ws, "b")
    cloud.fail("terminate", Gone("there is no h1"))
    assert lifecycle.forget(ws, box).state is BoxState.TERMINATED


def test_what_bills_by_a_clock_of_its_own_is_counted_until_now(ws: Workspace, cloud: Cloud) -> None:
    box = lifecycle.up(ws, "b")
    cloud.fail("terminate", AuthError("the token is invalid"), times=9)
    cloud.clock.advance(HOUR)
    warned = lifecycle.warnings(ws, box)
    assert "it may continue there AND COST $3.60/h" in warned[0]
    assert "devbox reconcile --provider local finds it again" in warned[1]
    lines = told(ws)
    box = lifecycle.forget(ws, box)
    assert (box.state, box.given_up) == (BoxState.LOST, True)
    assert box.message == f"{NOT_CONFIRMED}the token is invalid"
    assert end(ws, box) == ws.clock()
    assert lines == warned
    assert ws.store.boxes.open_intents() == []
    assert lifecycle.find_lost(ws) == [], "nothing looks for it"


def test_a_machine_of_the_users_is_counted_until_it_last_answered(
    ws: Workspace, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.bills = False
    left = "its programs continue on lab; end them with: ssh lab pkill -u me"
    monkeypatch.setattr(cloud, "forget", lambda handle: left)
    box = lifecycle.up(ws, "b")
    cloud.fail("terminate", AuthError("no login"), times=9)
    cloud.clock.advance(HOUR)
    (warned,) = lifecycle.warnings(ws, box)
    assert "devbox no longer tries to end it" in warned
    lines = told(ws)
    assert lifecycle.forget(ws, box).state is BoxState.LOST
    assert end(ws, box) == box.seen
    assert lines == [f"b: {left}"]


def test_a_provider_that_is_not_to_be_had_keeps_no_box(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It counts as one that bills."""
    box = lifecycle.up(ws, "b")

    def refused(_: Box) -> Cloud:
        raise AuthError("there are no credentials")

    monkeypatch.setattr(ws, "provider_of", refused)
    assert "AND COST" in lifecycle.warnings(ws, box)[0]
    box = lifecycle.forget(ws, box)
    assert (box.state, box.message) == (
        BoxState.LOST,
        f"{NOT_CONFIRMED}there are no credentials",
    )
    assert end(ws, box) == ws.clock()


def test_one_that_was_never_answered_is_sought_first(ws: Workspace, cloud: Cloud) -> None:
    """What is found is ended; else it is said for how long it may still appear."""
    cloud.create_lag = MINUTE

    def begin() -> Box:
        cloud.fail("create", after=KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            lifecycle.up(ws, "b")
        return ws.box("b")

    box = lifecycle.forget(ws, begin())
    assert box.state is BoxState.TERMINATED
    assert cloud.there["h1"].state is BoxState.TERMINATED
    box = begin()
    cloud.hidden.add("h2")
    cloud.clock.advance(20)
    box = lifecycle.forget(ws, box)
    assert box.state is BoxState.LOST
    assert box.message.endswith("no answer came: it may still appear for 40s")

"""What was ordered with a run, where its box cannot be asked or waits for more: without a real
box."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from devbox import lifecycle
from devbox.errors import AuthError, Conflict
from devbox.lifecycle import then, wait
from devbox.model import Box, BoxState, Endpoint, Run, RunState
from devbox.providers.base import Kept
from devbox.remote import agent
from devbox.wire.messages import Then, Verdict
from devbox.workspace import Workspace
from tests.lifecycle.cloud import REACHED, Pausing, a_project, told


@pytest.fixture
def ws(home: Path, cloud: Pausing) -> Workspace:
    return a_project(home, cloud, toml=REACHED)


def a_run(ws: Workspace, box: Box, order: str = "") -> Run:
    request = msgspec.json.encode({"then": order} if order else {})
    run = Run("r-1", box.id, "b", "make", RunState.RUNNING, ws.clock(), request=request)
    ws.store.runs.put(run)
    return run


@pytest.fixture
def placed(ws: Workspace, box: Box, cloud: Pausing) -> Box:
    """It has an ssh address, at which nothing answers."""
    cloud.show(box.handle, endpoint=Endpoint("127.0.0.1", 1))
    return lifecycle.observe_now(ws, box)


def ordered(monkeypatch: pytest.MonkeyPatch, found: Then | None) -> None:
    """The box's watchdog says that of its order."""
    verdict = Verdict("active", 0.0, None, (), then=found)
    monkeypatch.setattr(agent, "verdict", lambda line: verdict)


def test_a_run_without_an_order_asks_nothing_of_its_box(ws: Workspace, box: Box) -> None:
    run = a_run(ws, box)
    with then.fetching(ws, run):
        pass
    assert then.carry_out(ws, run) is None


def test_an_order_of_a_box_that_does_not_answer_is_the_boxs(ws: Workspace, box: Box) -> None:
    run = a_run(ws, box, "pause")
    lines = told(ws)
    with then.fetching(ws, run):
        pass
    assert then.carry_out(ws, run) is None
    assert lines[0].startswith("b: it was not asked to wait: ")
    assert lines[1].startswith("b: it could not be asked, and stops by itself: ")


def test_a_box_that_waits_for_more_is_left_to_stop_by_itself(
    ws: Workspace, placed: Box, cloud: Pausing, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = a_run(ws, placed, "pause")
    ordered(monkeypatch, Then("pause", run.id, "run", "pauses when run r-1 ends"))
    began, lines = ws.clock(), told(ws)
    assert then.carry_out(ws, run) is None
    assert lines == ["b: pauses when run r-1 ends"]
    assert ws.clock() - began == 15
    ordered(monkeypatch, Then("pause", "r-2"))
    assert then.carry_out(ws, run) is None
    assert lines[1:] == ["b: nothing is ordered with run r-1 any more"]
    assert cloud.there[placed.handle].state is BoxState.RUNNING


def test_a_box_that_files_are_only_on_stays_up(
    ws: Workspace, placed: Box, cloud: Pausing, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = a_run(ws, placed, "pause")
    ordered(monkeypatch, Then("pause", run.id))
    cloud.kept = Kept(False, "none of its files")
    lines = told(ws)
    with pytest.raises(Conflict, match="b stays up, since files are only on it") as caught:
        then.carry_out(ws, run)
    assert caught.value.fix == "stop it all the same with: devbox pause b"
    assert "$3.60/h" in caught.value.means
    assert any("what is on it and not here is unknown" in line for line in lines)
    assert ws.box("b").state is BoxState.RUNNING


def test_waiting_outlasts_a_provider_that_is_silent_and_ends_with_a_box_that_is_over(
    ws: Workspace, box: Box, cloud: Pausing
) -> None:
    lines, waits = told(ws), list[float]()
    cloud.fail("observe", AuthError("cut"), times=2)

    def sleep(seconds: float) -> None:
        cloud.clock.advance(seconds)
        waits.append(seconds)
        if len(waits) == 3:
            cloud.show(box.handle, state=BoxState.PAUSED)

    ws.sleep = sleep
    assert wait.for_box(ws, box, ("paused",), None).state is BoxState.PAUSED
    assert lines == ["b: its provider does not answer: cut; waiting on"]
    assert waits == [0.2, 0.5, 1.0]
    over = lifecycle.down(ws, box, save=False)
    with pytest.raises(Conflict, match="b is terminated, not running"):
        wait.for_box(ws, over, ("running",), None)


def test_waiting_for_a_run_ends_with_the_pause_of_its_box(
    ws: Workspace, box: Box, cloud: Pausing
) -> None:
    run = a_run(ws, box)
    cloud.show(box.handle, state=BoxState.PAUSED)
    with pytest.raises(Conflict, match="b is paused, and what run r-1 came to") as caught:
        wait.for_run(ws, run, ("succeeded",), None)
    assert caught.value.fix == "devbox resume b, then: devbox attach r-1"
    assert wait.for_run(ws, run, ("unknown",), None).state is RunState.UNKNOWN

"""Two devbox processes at one box: what one of them asked its provider before the other finished
is no news, and turns nothing back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from devbox import lifecycle
from devbox.lifecycle.observe import refresh
from devbox.lifecycle.operation import BoxOperation
from devbox.model import Box, BoxState, Endpoint
from devbox.spec import BoxSpec
from devbox.workspace import Workspace
from tests.lifecycle.cloud import Pausing, a_project


@pytest.fixture
def ws(home: Path, cloud: Pausing) -> Workspace:
    return a_project(home, cloud)


@pytest.fixture
def other(home: Path, ws: Workspace, cloud: Pausing) -> Workspace:
    """Another process's view of the same state file."""
    return a_project(home, cloud)


def _between(ws: Workspace, meanwhile: Callable[[], object]) -> None:
    """Run `meanwhile` once, when the providers have answered a `refresh` (they are asked in
    threads) and its answers are about to be recorded, a second later."""
    clock, main = ws.clock, threading.main_thread()

    def hooked() -> float:
        if threading.current_thread() is main:
            ws.clock = clock
            ws.sleep(1.0)
            meanwhile()
        return clock()

    ws.clock = hooked


def _bills(ws: Workspace, box: Box) -> list[bool]:
    """For each interval, whether it is open."""
    return [each.end is None for each in ws.store.ledger.of_box(box.id)]


def test_an_older_answer_does_not_bring_an_ended_box_back(ws: Workspace, other: Workspace) -> None:
    box = lifecycle.up(ws, "b")
    _between(ws, lambda: lifecycle.down(other, box, save=False))
    (after,) = refresh(ws, [box])
    assert after.state is BoxState.TERMINATED
    row = other.store.boxes.get(box.id)
    assert row is not None
    assert row.state is BoxState.TERMINATED
    assert _bills(other, box) == [False]
    assert other.store.boxes.open_intents(box.id) == []


def test_an_older_answer_does_not_bill_a_box_that_was_paused(
    ws: Workspace, other: Workspace
) -> None:
    box = lifecycle.up(ws, "b")
    _between(ws, lambda: lifecycle.pause(other, box, save=False))
    (after,) = refresh(ws, [box])
    assert after.state is BoxState.PAUSED
    assert _bills(other, box) == [False]


def test_an_older_answer_does_not_stop_a_box_that_runs_again(
    ws: Workspace, other: Workspace
) -> None:
    """The answer `paused` is older than the resume that another process finished."""
    box = lifecycle.pause(ws, lifecycle.up(ws, "b"), save=False)
    _between(ws, lambda: lifecycle.resume(other, box))
    (after,) = refresh(ws, [box])
    assert after.state is BoxState.RUNNING
    assert _bills(other, box) == [False, True]


def test_asking_for_an_end_turns_no_ended_box_back(ws: Workspace, other: Workspace) -> None:
    box = lifecycle.up(ws, "b")
    lifecycle.down(other, box, save=False)
    for state in (BoxState.STOPPING, BoxState.PAUSING, BoxState.FAILED):
        op = BoxOperation(ws, box)
        op.set_state(state)
        assert op.box.state is BoxState.TERMINATED
    kinds = [event.message for event in ws.store.events.of_box(box.id) if event.kind == "state"]
    assert kinds[-1] == "stopping → terminated"


def _at_step(ws: Workspace, step: tuple[str, str], meanwhile: Callable[[], object]) -> None:
    """Run `meanwhile` once, at that end of a step."""

    def on_step(*seen: str) -> None:
        if seen == step:
            ws.on_step = lambda *_: None
            meanwhile()

    ws.on_step = on_step


def test_what_another_process_observed_between_two_steps_is_built_on(
    ws: Workspace, other: Workspace, cloud: Pausing
) -> None:
    """It sees that the box runs before `up` looks for the first time."""
    cloud.stages = [{"state": BoxState.STARTING}]

    def runs() -> None:
        cloud.show("h1", state=BoxState.RUNNING, endpoint=Endpoint("box.test"))
        (seen,) = refresh(other, other.store.boxes.all())
        assert seen.state is BoxState.RUNNING

    _at_step(ws, ("observe", "before"), runs)
    box = lifecycle.up(ws, "b")
    assert (box.state, box.endpoint) == (BoxState.RUNNING, Endpoint("box.test"))
    assert _bills(ws, box) == [True]
    messages = [event.message for event in ws.store.events.of_box(box.id)]
    assert sum("→ running" in message for message in messages) == 1


def test_a_keep_that_is_ended_between_two_steps_of_a_resume_stays_ended(
    home: Path, local_workspace: Workspace
) -> None:
    """On a real box, which is armed at a resume."""
    ws, other = local_workspace, Workspace(local_workspace.spec)
    ws.spec = other.spec = msgspec.structs.replace(ws.spec, boxes={"b": BoxSpec()})
    box = lifecycle.up(ws, "b")
    lifecycle.keep(ws, box, 3600)
    box = lifecycle.pause(ws, box, save=False)
    _at_step(ws, ("arm", "after"), lambda: lifecycle.keep(other, other.box("b"), 0))
    said: list[str] = []
    ws.narrate = said.append
    lifecycle.resume(ws, box)
    assert [line for line in said if "kept awake" in line] == []
    lifecycle.down(ws, box, save=False)
    other.close()


def test_a_goal_that_was_replaced_meanwhile_is_not_finished(
    ws: Workspace, other: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`reconcile` lists an open `running`; before it holds the lock, another process pauses."""
    box = lifecycle.up(ws, "b", wait=False)
    get = ws.store.boxes.get

    def once(box_id: str) -> Box | None:
        monkeypatch.setattr(ws.store.boxes, "get", get)
        lifecycle.pause(other, lifecycle.resume_goal(other, box), save=False)
        return get(box_id)

    monkeypatch.setattr(ws.store.boxes, "get", once)
    assert lifecycle.reconcile(ws, provider="local") == []
    assert ws.box("b").state is BoxState.PAUSED
    assert _bills(ws, box) == [False]

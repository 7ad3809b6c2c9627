"""`up`, `resume` and `pause` of a known box, without a real one: what was begun is finished, and
what cannot be is said."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from devbox import lifecycle, spec
from devbox.errors import Busy, Conflict, NoCapacity, NotFound, ProviderError, Unavailable
from devbox.model import BoxState
from devbox.providers.abilities import CanPause
from devbox.workspace import Workspace
from tests.lifecycle.cloud import COMMAND, HOUR, MINUTE, Cloud, Pausing, a_project, told

QUEUED = {"state": BoxState.PROVISIONING, "stage": "QUEUED"}
RUNS = {"state": BoxState.RUNNING}


@pytest.fixture
def ws(home: Path, cloud: Pausing) -> Workspace:
    return a_project(home, cloud)


class Killed(BaseException):
    """The process is gone."""


def test_a_paused_box_stays_paused_and_a_resumed_one_costs_again(
    ws: Workspace, cloud: Pausing
) -> None:
    box = lifecycle.pause(ws, lifecycle.up(ws, "b"))
    cloud.calls.clear()
    assert lifecycle.pause(ws, box).state is BoxState.PAUSED
    assert cloud.calls == ["observe"]
    with pytest.raises(Conflict, match="b is paused: there is nothing to hold off") as caught:
        lifecycle.keep(ws, box, HOUR)
    assert caught.value.fix == "bring it back with: devbox resume b"
    cloud.clock.advance(HOUR)
    assert lifecycle.resume(ws, box).state is BoxState.RUNNING
    first, second = ws.store.ledger.of_box(box.id)
    assert first.end is not None
    assert (second.start - first.end, second.end) == (HOUR, None)


def test_up_twice_is_one_box(ws: Workspace, cloud: Pausing) -> None:
    first = lifecycle.up(ws, "b")
    assert lifecycle.up(ws, "b").id == first.id
    assert len(cloud.there) == 1


def test_up_that_was_not_waited_for_is_finished_by_whoever_does(
    ws: Workspace, cloud: Pausing
) -> None:
    cloud.stages = [{"state": BoxState.STARTING}, RUNS]
    box = lifecycle.up(ws, "b", wait=False)
    assert (box.state, len(ws.store.boxes.open_intents(box.id))) == (BoxState.STARTING, 1)
    assert lifecycle.resume_goal(ws, box).state is BoxState.RUNNING
    assert ws.store.boxes.open_intents() == []
    cloud.calls.clear()
    assert lifecycle.resume_goal(ws, box).state is BoxState.RUNNING
    assert cloud.calls == ["observe"]


def test_while_one_process_works_another_is_told_so(ws: Workspace, cloud: Pausing) -> None:
    refused: list[str] = []

    def meanwhile(step: str, phase: str) -> None:
        if (step, phase) == ("observe", "before"):
            with pytest.raises(Busy) as caught:
                lifecycle.down(ws, ws.box("b"))
            refused.append(caught.value.render())

    ws.on_step = meanwhile
    assert lifecycle.up(ws, "b").state is BoxState.RUNNING
    (said,) = refused
    at = f"(process {os.getpid()}, running, step observe)"
    assert said.startswith(f"error: another devbox is working on b right now {at}")
    assert said.endswith("fix: watch it with: devbox status b --wait")
    assert "terminate" not in cloud.calls


def test_a_pause_of_what_is_not_known_to_be_made_is_refused(ws: Workspace, cloud: Pausing) -> None:
    cloud.create_lag = MINUTE
    cloud.fail("create", Unavailable("cut"), times=6)
    with pytest.raises(Unavailable):
        lifecycle.up(ws, "b")
    with pytest.raises(Conflict, match="b has not been made yet") as caught:
        lifecycle.pause(ws, ws.box("b"))
    assert caught.value.fix == "devbox up b, or end it with: devbox down b"
    assert ws.box("b").state is BoxState.PROVISIONING


def test_what_a_box_without_a_handle_cannot_do_names_what_leads_there(
    ws: Workspace, cloud: Pausing, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.fail("create", Killed())
    with pytest.raises(Killed):
        lifecycle.up(ws, "b")

    class OnlyPauses(Cloud, CanPause):
        pause, resume = Pausing.pause, Pausing.resume

        def check_pause(self, handle: str) -> None:
            raise AssertionError("there is no handle")

    monkeypatch.setattr(ws, "provider_of", lambda box: OnlyPauses())
    with pytest.raises(ProviderError, match="boxes of provider local cannot restart") as caught:
        lifecycle.restart(ws, ws.box("b"))
    assert caught.value.fix == "start it again with: devbox pause b && devbox resume b"


def test_up_finishes_a_pause_that_was_begun_and_runs_again(ws: Workspace, cloud: Pausing) -> None:
    box = lifecycle.up(ws, "b")

    def die(step: str, phase: str) -> None:
        if (step, phase) == ("pause", "after"):
            raise Killed

    ws.on_step = die
    with pytest.raises(Killed):
        lifecycle.pause(ws, box)
    ws.on_step = lambda *_: None
    cloud.show(box.handle, state=BoxState.STARTING)  # it shows the pause only later
    cloud.clock.advance(1)
    lines = told(ws)
    ws.sleep = lambda seconds: cloud.show(box.handle, state=BoxState.PAUSED)
    assert lifecycle.up(ws, "b").state is BoxState.RUNNING
    assert "b: finishing the pause that was begun" in lines
    assert ws.store.boxes.open_intents() == []


def test_up_of_a_box_that_is_being_ended_says_how_to_finish_that(
    ws: Workspace, cloud: Pausing
) -> None:
    box = lifecycle.up(ws, "b")
    cloud.fail("terminate", ProviderError("not now"))
    with pytest.raises(ProviderError, match="not now"):
        lifecycle.down(ws, box)
    with pytest.raises(Conflict, match="b is being ended") as caught:
        lifecycle.up(ws, "b")
    assert caught.value.fix == "finish that with: devbox down b"
    assert caught.value.means == "it costs until its provider confirms"


def test_up_without_a_file_is_of_the_box_that_options_made_there(
    home: Path, cloud: Pausing
) -> None:
    ws = a_project(home, cloud)
    ws.spec.root.joinpath("devbox.toml").unlink()
    box = lifecycle.up(ws, "b")
    lifecycle.pause(ws, box)

    def opened() -> Workspace:
        return Workspace(
            spec.Spec(root=ws.spec.root, project=ws.spec.project),
            providers=[cloud],
            clock=ws.clock,
            sleep=ws.sleep,
        )

    later = opened()
    assert not later.here.inside
    assert lifecycle.up(later, "b").id == box.id
    assert later.box("b").state is BoxState.RUNNING
    lifecycle.down(later, later.box("b"))
    with pytest.raises(NotFound):
        lifecycle.up(opened(), "b")
    with pytest.raises(NotFound):
        lifecycle.up(opened(), None)


def test_up_of_a_box_by_its_project_takes_what_its_file_says(ws: Workspace, cloud: Pausing) -> None:
    box = lifecycle.up(ws, "b")
    ref = f"{ws.spec.project}/b"
    assert lifecycle.up(ws, ref).id == box.id
    lifecycle.down(ws, box)
    assert lifecycle.up(ws, ref).id != box.id, "its folder is here"
    lifecycle.down(ws, ws.box("b"))
    other = Workspace(
        spec.Spec(root=ws.spec.root.parent, project="other"), providers=[cloud], clock=ws.clock
    )
    with pytest.raises(NotFound, match="project/b is terminated") as caught:
        lifecycle.up(other, ref)
    assert caught.value.fix == f"make a new one with: cd {ws.spec.root} && devbox up b"


def test_one_that_ended_before_it_was_up_is_made_again(ws: Workspace, cloud: Pausing) -> None:
    cloud.stages = [{"state": BoxState.STARTING}]
    first = lifecycle.up(ws, "b", wait=False)
    cloud.terminate("h1")
    cloud.stages = [RUNS]
    second = lifecycle.up(ws, "b")
    assert (second.id != first.id, second.state) == (True, BoxState.RUNNING)
    assert ws.store.boxes.open_intents() == []


def test_a_box_without_capacity_keeps_its_place(home: Path, cloud: Pausing) -> None:
    """It has run before: `up` waits for its own hardware, and says what else would do."""
    both = COMMAND + 'hardware = ["small", "large"]\n'
    ws = a_project(home, cloud, toml=both)
    lifecycle.pause(ws, lifecycle.up(ws, "b"))
    cloud.full.add("small")
    with pytest.raises(NoCapacity) as caught:
        lifecycle.up(ws, "b")
    assert caught.value.fix.endswith("; or on its next hardware: devbox resume b")
    assert ws.box("b").state is BoxState.PAUSED
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        cloud.clock.advance(seconds)
        waits.append(seconds)
        if len(waits) == 2:
            cloud.full.clear()

    ws.sleep = sleep
    assert lifecycle.up(ws, "b", for_capacity=HOUR).hardware == "small"
    assert waits == [15.0, 30.0]

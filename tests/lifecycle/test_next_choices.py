"""Which of its choices a box is asked for, and on which a paused one resumes: without a real
box."""

from __future__ import annotations

from pathlib import Path

import pytest

from devbox import lifecycle
from devbox.errors import AuthError, BudgetError, NoCapacity, UsageError
from devbox.lifecycle import moving
from devbox.model import Box, BoxState
from devbox.providers.base import Kept
from devbox.workspace import Workspace
from tests.lifecycle.cloud import COMMAND, MINUTE, Cloud, Pausing, a_project, operation, told

TWO = COMMAND + 'hardware = ["small", "large"]\ncapacity_timeout = "1m"\n'
#: at another provider too, where other hardware is free
ELSEWHERE = '[boxes.b]\nproviders = ["local", "docker"]\ncommand = ["train"]\nvram = "0GB"\n'
QUEUED = {"state": BoxState.STARTING, "stage": "QUEUED"}
FAILED = {"state": BoxState.FAILED, "stage": "QUEUED", "message": "none was free\nat all"}


@pytest.fixture
def ws(home: Path, cloud: Pausing) -> Workspace:
    return a_project(home, cloud, toml=TWO)


def paused(ws: Workspace) -> Box:
    return lifecycle.pause(ws, lifecycle.up(ws, "b"))


def live(cloud: Cloud) -> list[str]:
    """Hardware of what is not over."""
    found = cloud.there.values()
    return [seen.hardware for seen in found if seen.state is not BoxState.TERMINATED]


def test_the_next_choice_is_taken_once_the_first_is_taken_back(
    ws: Workspace, cloud: Pausing
) -> None:
    cloud.stages = [QUEUED]
    lines = told(ws)

    def sleep(seconds: float) -> None:
        cloud.clock.advance(seconds)
        if lines[-1:] == ["b: QUEUED"]:
            cloud.stages = [{"state": BoxState.RUNNING}]

    ws.sleep = sleep
    box = lifecycle.up(ws, "b")
    assert (box.hardware, live(cloud)) == ("large", ["large"])
    assert "b: local has no small free: still QUEUED after 1m" in lines
    assert "b: taking back what was asked of local" in lines
    assert ws.store.boxes.open_intents() == []


def test_an_up_that_was_not_waited_for_continues_with_the_next_choice(
    ws: Workspace, cloud: Pausing
) -> None:
    cloud.stages = [QUEUED]
    lifecycle.up(ws, "b", wait=False)
    cloud.full.add("small")
    cloud.stages = [{"state": BoxState.RUNNING}]
    assert lifecycle.up(ws, "b").hardware == "large"
    assert live(cloud) == ["large"]


def test_one_choice_that_is_full_is_refused_as_its_provider_says(
    home: Path, cloud: Pausing
) -> None:
    ws = a_project(home, cloud)
    cloud.full.add("small")
    with pytest.raises(NoCapacity, match=r"^local has no small free$"):
        lifecycle.up(ws, "b")
    cloud.full.clear()
    cloud.stages = [FAILED]
    with pytest.raises(NoCapacity) as caught:
        lifecycle.up(ws, "b")
    assert caught.value.what == "b: local has no small free: none was free"
    assert "devbox up b --wait-for-capacity 2h" in caught.value.fix


def test_when_all_are_full_each_is_named(ws: Workspace, cloud: Pausing) -> None:
    cloud.full.update({"small", "large"})
    with pytest.raises(NoCapacity) as caught:
        lifecycle.up(ws, "b")
    assert caught.value.what == (
        "no choice of b had hardware free: local has no small free; local has no large free"
    )
    lines = told(ws)
    with pytest.raises(NoCapacity, match="had hardware free within 1m"):
        lifecycle.up(ws, "b", for_capacity=MINUTE)
    assert [line for line in lines if line.startswith("b: local small")] == [
        "b: local small at $3.60/h (live), up to $28.80 until max_uptime in 8h",
        *["b: local small again"] * 3,
    ], "its user is asked once"


def test_a_choice_over_the_budget_is_passed_over(home: Path, cloud: Pausing) -> None:
    dear = TWO.replace('"small", "large"', '"large", "small"')
    ws = a_project(home, cloud, toml=dear + "[budget]\nper_box = 50.0\n")
    lines = told(ws)
    box = lifecycle.up(ws, "b")
    assert box.hardware == "small"
    assert lines[0].endswith("would pass the budget of box b of $50.00")
    lifecycle.down(ws, box)
    ws = a_project(home, cloud, toml=dear + "[budget]\nper_box = 1.0\n")
    with pytest.raises(BudgetError):
        lifecycle.up(ws, "b")
    assert live(cloud) == []


def test_a_provider_that_cannot_be_asked_is_left_out_where_there_is_another(
    home: Path, cloud: Pausing
) -> None:
    docker = Cloud("docker", cloud.clock)
    ws = a_project(home, cloud, docker, toml=ELSEWHERE)
    cloud.fail("offers", AuthError("no login"))
    lines = told(ws)
    box = lifecycle.up(ws, "b")
    assert box.provider == "docker"
    assert "b: local is left out: no login" in lines
    lifecycle.down(ws, box)
    cloud.fail("offers", AuthError("no login"))
    docker.fail("offers", AuthError("no engine"))
    with pytest.raises(AuthError, match="no login"):
        lifecycle.up(ws, "b")


def test_ctrl_c_leaves_what_does_not_wait_for_hardware(ws: Workspace, cloud: Pausing) -> None:
    """It is being built, and `up` continues with it; what only waits is taken back."""

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    ws.sleep = interrupt
    cloud.stages = [{"state": BoxState.BUILDING}]
    with pytest.raises(KeyboardInterrupt):
        lifecycle.up(ws, "b")
    assert ws.box("b").state is BoxState.BUILDING
    ws.sleep = cloud.clock.advance  # type: ignore[assignment]
    lifecycle.down(ws, ws.box("b"))
    ws.sleep = interrupt
    cloud.stages = [QUEUED]
    with pytest.raises(KeyboardInterrupt):
        lifecycle.up(ws, "b")
    assert ws.store.boxes.all() == []
    assert live(cloud) == []


def test_an_end_between_two_choices_is_finished_first(ws: Workspace, cloud: Pausing) -> None:
    cloud.stages = [FAILED]
    cloud.fail("terminate", AuthError("no right"))
    with pytest.raises(AuthError):
        lifecycle.up(ws, "b")
    (goal,) = ws.store.boxes.open_intents()
    assert goal.goal == "terminated"
    cloud.stages = [{"state": BoxState.RUNNING}]
    assert lifecycle.up(ws, "b").hardware == "small"
    assert live(cloud) == ["small"]


def test_a_paused_box_resumes_on_its_next_choice_when_its_user_agrees(
    ws: Workspace, cloud: Pausing
) -> None:
    box = paused(ws)
    cloud.full.add("small")
    asked: list[str] = []
    lines = told(ws)

    def decline(question: str) -> None:
        asked.append(question)
        raise UsageError("there is no terminal to ask at", fix="devbox resume b --yes")

    ws.approve = decline
    with pytest.raises(NoCapacity) as caught:
        lifecycle.resume(ws, box)
    assert caught.value.fix == "devbox resume b --yes"
    assert asked == ["Resume b on large at $36.00/h instead?"]
    assert "b: programs that ran do not come back" in lines
    assert (ws.box("b").state, ws.box("b").hardware) == (BoxState.PAUSED, "small")

    ws.approve = asked.append
    cloud.full.add("large")
    with pytest.raises(NoCapacity, match="no large free"):
        lifecycle.resume(ws, box)
    box = ws.box("b")
    assert (box.state, box.hardware, box.price.micro_per_hour) == (
        BoxState.PAUSED,
        "small",
        3_600_000,
    ), "the first is tried first again"

    cloud.full.discard("large")
    cloud.kept = Kept(False, "none of its files")
    box = lifecycle.resume(ws, box)
    assert (box.state, box.hardware) == (BoxState.RUNNING, "large")
    assert any("its own disk does not come back" in line for line in lines)


def test_a_resume_that_failed_for_want_of_hardware_is_paused_again(
    ws: Workspace, cloud: Pausing
) -> None:
    box = paused(ws)
    cloud.stages = [FAILED]
    with pytest.raises(NoCapacity):
        lifecycle.resume(ws, box)
    box = ws.box("b")
    assert (box.state, box.hardware) == (BoxState.PAUSED, "small")
    assert ws.store.boxes.open_intents() == []


def test_one_that_may_still_start_is_not_asked_for_elsewhere(ws: Workspace, cloud: Pausing) -> None:
    """Two would cost at once. After the last try it is left as its provider shows it."""
    box = paused(ws)
    cloud.stages = [QUEUED]
    with pytest.raises(NoCapacity, match="no small free: still QUEUED after 1m"):
        lifecycle.resume(ws, box)
    assert (ws.box("b").state, ws.box("b").hardware) == (BoxState.STARTING, "small")
    cloud.show("h1", state=BoxState.RUNNING, stage="")
    box = paused(ws)
    cloud.full.add("small")
    cloud.stages = [QUEUED]
    with pytest.raises(NoCapacity, match="no large free: still QUEUED after 1m"):
        lifecycle.resume(ws, box)
    assert (ws.box("b").state, ws.box("b").hardware) == (BoxState.STARTING, "large")


def test_its_other_providers_would_make_a_new_box(home: Path, cloud: Pausing) -> None:
    ws = a_project(home, cloud, Cloud("docker", cloud.clock), toml=ELSEWHERE)
    box = paused(ws)
    cloud.full.update({"small", "large"})
    with pytest.raises(NoCapacity) as caught:
        lifecycle.resume(ws, box)
    assert "at docker it would be a new box: what it has at local" in caught.value.means
    assert caught.value.fix.endswith(
        "leave what it has, and: devbox down b && devbox up b --provider docker"
    )


def test_prices_that_are_not_to_be_had_keep_no_box_from_its_own_hardware(
    ws: Workspace, cloud: Pausing
) -> None:
    box = paused(ws)
    cloud.fail("offers", AuthError("no list"))
    assert moving._next_choices(operation(ws, box)) == []
    cloud.fail("offers", AuthError("no list"))
    assert lifecycle.resume(ws, box).hardware == "small"

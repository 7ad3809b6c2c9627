"""A box with several choices: the next one is asked for when there is no hardware for the first,
and what was asked for before is gone by then, whatever goes wrong in between."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from devbox import lifecycle, spec
from devbox.errors import BudgetError, NoCapacity, NotFound
from devbox.model import BoxState
from devbox.providers.hf.job import HfJob
from devbox.spec import HfSettings
from devbox.workspace import Workspace
from tests import warm
from tests.contract.harness_modal import ModalHarness
from tests.emulators.common import Fault
from tests.emulators.hf import HfEmulator

TOML = """\
[boxes.b]
{box}
capacity_timeout = "0.3s"
[providers.hf]
ssh_gateway = "{gateway}"
"""
#: a Job that is a program, which needs no login
TWO = 'provider = "hf-job"\nhardware = ["l4x1", "t4-small"]\ncommand = ["sleep", "600"]'
Project = Callable[..., Workspace]


@pytest.fixture
def project(hub: HfEmulator, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """Opens a workspace in HOME/project with that box; `said` of it is what was narrated."""
    opened: list[Workspace] = []

    def open_(box: str = TWO, more: str = "") -> Workspace:
        folder = home / "project"
        folder.mkdir(exist_ok=True)
        text = TOML.format(box=box, gateway=hub.gateway_host_port) + more
        (folder / "devbox.toml").write_text(text)
        spec.trust_file(folder / "devbox.toml")
        (folder / "main.py").write_text("print('hello')\n")
        monkeypatch.chdir(folder)
        opened.append(Workspace.open())
        return opened[-1]

    yield open_
    hub.knobs.clear()
    for ws in opened:
        ws.sleep = time.sleep
        for box in ws.store.boxes.all():
            lifecycle.down(ws, box, save=False)


def listen(ws: Workspace) -> list[str]:
    said: list[str] = []
    ws.narrate = said.append
    return said


def ahead(hub: HfEmulator) -> Workspace:
    """A workspace, and its provider, whose longer waits are over at once."""
    skipped: list[float] = []

    def clock() -> float:
        return time.time() + sum(skipped)

    job = HfJob(HfSettings(ssh_gateway=hub.gateway_host_port), clock=clock)
    return Workspace(
        spec.load(spec.find(Path.cwd())),
        providers=[job],
        clock=clock,
        sleep=lambda s: skipped.append(s) if s > 2.0 else time.sleep(s),
    )


def flavors(hub: HfEmulator) -> list[tuple[str, str]]:
    """(flavor, stage) of each Job, in the order in which they were asked for."""
    return [(job.flavor.name, job.stage) for job in hub.jobs.values()]


def assert_one_at_a_time(hub: HfEmulator) -> None:
    """Each Job was over before the next was made."""
    jobs = list(hub.jobs.values())
    for earlier, later in pairwise(jobs):
        assert earlier.finished is not None
        assert earlier.finished <= later.created


def test_the_next_choice_is_taken_once_the_first_is_taken_back(
    project: Project,
    hub: HfEmulator,
) -> None:
    ws = project()
    hub.full.add("l4x1")
    said = listen(ws)
    box = lifecycle.up(ws, "b")
    assert (box.state, box.hardware) == (BoxState.RUNNING, "t4-small")
    assert flavors(hub) == [("l4x1", "CANCELED"), ("t4-small", "RUNNING")]
    assert_one_at_a_time(hub)
    assert [interval.what for interval in hub.meter.intervals()] == ["t4-small"]
    assert ws.store.boxes.open_intents() == []
    assert any("hf-job has no l4x1 free: still SCHEDULING after 0s" in line for line in said)
    assert lifecycle.up(ws, "b").hardware == "t4-small", "it is one of its choices"


def test_a_refusal_for_want_of_hardware_is_no_fault_and_is_not_repeated(
    project: Project,
    hub: HfEmulator,
) -> None:
    ws = project()
    hub.knobs.set("run_job", Fault.error(400, "Scheduling failure: not enough hardware capacity"))
    assert lifecycle.up(ws, "b").hardware == "t4-small"
    assert flavors(hub) == [("t4-small", "RUNNING")]


def test_when_all_are_full_nothing_is_left_and_each_is_named(
    project: Project,
    hub: HfEmulator,
) -> None:
    ws = project()
    hub.full.update({"l4x1", "t4-small"})
    with pytest.raises(NoCapacity) as caught:
        lifecycle.up(ws, "b")
    assert "no choice of b had hardware free: " in caught.value.what
    assert "no l4x1 free" in caught.value.what
    assert "no t4-small free" in caught.value.what
    assert caught.value.means == "it costs nothing now"
    assert "devbox up b --wait-for-capacity 2h" in caught.value.fix
    assert {stage for _, stage in flavors(hub)} == {"CANCELED"}
    assert ws.store.boxes.all() == []
    assert ws.store.boxes.open_intents() == []


def test_waiting_goes_round_with_growing_pauses_and_says_so(
    project: Project,
    hub: HfEmulator,
) -> None:
    ws = project()
    hub.full.update({"l4x1", "t4-small"})
    said, skipped = listen(ws), list[float]()
    ws.clock = lambda: time.time() + sum(skipped)

    def sleep(seconds: float) -> None:
        if seconds <= 2.0:
            time.sleep(seconds)
            return
        assert all(job.over for job in hub.jobs.values()), "nothing is asked for between rounds"
        skipped.append(seconds)
        if len(skipped) == 2:
            hub.full.discard("t4-small")

    ws.sleep = sleep
    assert lifecycle.up(ws, "b", for_capacity=7200.0).hardware == "t4-small"
    assert skipped == [15.0, 30.0]
    assert_one_at_a_time(hub)
    told = [line for line in said if "waiting for capacity" in line]
    assert len(told) == 2
    assert told[1].startswith("b: waiting for capacity (hf-job l4x1, hf-job t4-small) for ")
    assert told[1].endswith("of 2h; it costs nothing now; asking again in 30s")


def test_waiting_ends_in_time(project: Project, hub: HfEmulator) -> None:
    ws = project()
    hub.full.update({"l4x1", "t4-small"})
    skipped: list[float] = []
    ws.clock = lambda: time.time() + sum(skipped)
    ws.sleep = lambda s: skipped.append(s) if s > 2.0 else time.sleep(s)
    with pytest.raises(NoCapacity, match="within 1m"):
        lifecycle.up(ws, "b", for_capacity=60.0)
    assert sum(skipped) <= 60
    assert ws.store.boxes.all() == []


def test_ctrl_c_takes_back_what_was_asked(project: Project, hub: HfEmulator) -> None:
    ws = project()
    hub.full.add("l4x1")

    def sleep(_: float) -> None:
        ws.sleep = time.sleep
        raise KeyboardInterrupt

    ws.sleep = sleep
    with pytest.raises(KeyboardInterrupt):
        lifecycle.up(ws, "b", for_capacity=60.0)
    assert flavors(hub) == [("l4x1", "CANCELED")]
    assert ws.store.boxes.all() == []
    assert ws.store.boxes.open_intents() == []


@pytest.mark.parametrize("phase", ["before", "after"])
@pytest.mark.parametrize(("route", "turn"), [("cancel_job", 1), ("run_job", 2)])
def test_a_kill_between_two_choices_leaves_one_box(
    project: Project,
    hub: HfEmulator,
    route: str,
    turn: int,
    phase: str,
) -> None:
    project()
    hub.full.add("l4x1")
    started: list[subprocess.Popen[bytes]] = []
    left = [turn]

    def hook(name: str, now: str) -> bool:
        if (name, now) == (route, phase):
            left[0] -= 1
            if left[0] == 0:
                started[0].kill()
                started[0].wait()
                return False
        return True

    hub.on_call = hook
    argv = [sys.executable, "-m", "tests.lifecycle.driver", "up", "-", "-"]
    started.append(warm.Popen(argv, stderr=subprocess.PIPE))
    _, errors = started[0].communicate(timeout=60)
    hub.on_call = None
    assert started[0].returncode == -signal.SIGKILL, errors.decode()
    ws = ahead(hub)
    box = lifecycle.up(ws, "b")
    assert (box.state, box.hardware) == (BoxState.RUNNING, "t4-small")
    assert [flavor for flavor, stage in flavors(hub) if stage == "RUNNING"] == ["t4-small"]
    assert_one_at_a_time(hub)
    assert ws.store.boxes.open_intents() == []
    assert lifecycle.reconcile(ws) == []
    lifecycle.down(ws, box, save=False)


@pytest.mark.parametrize("route", ["run_job", "cancel_job"])
def test_a_lost_reply_leaves_one_box(
    project: Project,
    hub: HfEmulator,
    route: str,
) -> None:
    project()
    ws = ahead(hub)
    hub.full.add("l4x1")
    hub.knobs.set(route, Fault.reply_lost())
    assert lifecycle.up(ws, "b").hardware == "t4-small"
    assert flavors(hub) == [("l4x1", "CANCELED"), ("t4-small", "RUNNING")]
    assert_one_at_a_time(hub)
    lifecycle.down(ws, ws.box("b"), save=False)


def test_what_cannot_be_ended_lets_nothing_else_begin(
    project: Project,
    hub: HfEmulator,
) -> None:
    ws = project()
    hub.full.add("l4x1")
    hub.knobs.set("cancel_job", Fault.unauthorized(), times=None)
    with pytest.raises(Exception, match="token is invalid") as caught:
        lifecycle.up(ws, "b")
    assert not isinstance(caught.value, NoCapacity)
    assert flavors(hub) == [("l4x1", "SCHEDULING")]
    (goal,) = ws.store.boxes.open_intents()
    assert goal.goal == "terminated"
    hub.knobs.clear()
    assert lifecycle.up(ws, "b").hardware == "t4-small", "the end is finished first"
    assert_one_at_a_time(hub)


def test_a_choice_over_the_budget_is_passed_over(
    project: Project,
    hub: HfEmulator,
) -> None:
    costly = TWO.replace("l4x1", "l40sx8")
    ws = project(costly, more="[budget]\nper_box = 5.0\n")
    assert lifecycle.up(ws, "b").hardware == "t4-small"
    ws = project(TWO.replace("t4-small", "l40sx4"), more="[budget]\nper_box = 0.1\n")
    lifecycle.down(ws, ws.box("b"), save=False)
    with pytest.raises(BudgetError):
        lifecycle.up(ws, "b")
    assert len(hub.jobs) == 1


def test_a_name_of_other_hardware_is_told_before_anything_is_asked(
    project: Project,
    hub: HfEmulator,
) -> None:
    ws = project(TWO.replace("t4-small", "T4"))
    with pytest.raises(NotFound, match="hf-job has no hardware 'T4'"):
        lifecycle.up(ws, "b")
    assert flavors(hub) == []


def test_a_space_that_gets_no_machine_gives_way_to_a_job(
    project: Project,
    hub: HfEmulator,
) -> None:
    ws = project('providers = ["hf-space", "hf-job"]\ngpu = "L4"\n')
    hub.full.add("l4x1")

    def sleep(seconds: float) -> None:
        if not hub.spaces and not hub.jobs:
            pass
        elif any(job.flavor.name == "l4x1" for job in hub.jobs.values()):
            hub.full.clear()
        time.sleep(min(seconds, 0.1))

    ws.sleep = sleep
    box = lifecycle.up(ws, "b")
    assert (box.provider, box.state) == ("hf-job", BoxState.RUNNING)
    assert hub.spaces == {}, "the Space is deleted"
    assert box.choices


def test_a_queue_at_one_provider_gives_way_to_another(
    project: Project,
    hub: HfEmulator,
    home: Path,
) -> None:
    modal = ModalHarness(home)
    try:
        modal.emulator.full.add("L4")
        ws = project('providers = ["modal", "hf-job"]\ngpu = "L4"')
        box = lifecycle.up(ws, "b")
        assert (box.provider, box.hardware) == ("hf-job", "l4x1")
        (sandbox,) = modal.emulator.sandboxes.values()
        assert sandbox.state == "finished"
        assert modal.emulator.meter.intervals() == []
        assert ws.provider("modal").find() == []
    finally:
        modal.close()


def test_a_space_that_gets_no_machine_at_a_resume_takes_the_next(
    project: Project, hub: HfEmulator
) -> None:
    ws = project('provider = "hf-space"\nhardware = ["l4x1", "t4-small"]')
    lifecycle.pause(ws, lifecycle.up(ws, "b"), save=False)
    hub.full.add("l4x1")
    asked: list[str] = []
    ws.approve = asked.append
    said = listen(ws)
    box = lifecycle.resume(ws, ws.box("b"))
    assert (box.state, box.hardware) == (BoxState.RUNNING, "t4-small")
    assert asked[-1] == "Resume b on t4-small at $0.40/h instead?"
    assert any("its own disk does not come back" in line for line in said)
    (space,) = hub.spaces.values()
    assert space.current == "t4-small"

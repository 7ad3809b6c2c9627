"""up, pause, resume, down and reconcile on the local provider."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from devbox import lifecycle, paths
from devbox.errors import BudgetError, Conflict, DevboxError, NotFound, Unavailable
from devbox.lifecycle.operation import with_retries
from devbox.model import BoxState
from devbox.remote import command
from devbox.remote.config import ssh_config
from devbox.tui import symbols
from devbox.workspace import Workspace
from tests import warm

TOML = "[boxes.b]\n[providers.local]\nprice = 1.0\n"


def _open(home: Path, toml: str) -> Workspace:
    folder = home / "project"
    folder.mkdir(exist_ok=True)
    (folder / "devbox.toml").write_text(toml)
    return Workspace.open(folder)


@pytest.fixture
def ws(home: Path) -> Iterator[Workspace]:
    workspace = _open(home, TOML)
    yield workspace
    for box in workspace.store.boxes.all():
        lifecycle.down(workspace, box, save=False)


@pytest.mark.openssh
def test_the_whole_life_of_a_box(ws: Workspace) -> None:
    box = lifecycle.up(ws, "b")
    assert box.state is BoxState.RUNNING
    done = subprocess.run(command.argv(box, ["pwd"]), check=True, capture_output=True, text=True)
    assert done.stdout.strip()
    verdict = lifecycle.idle_status(ws, box)
    assert verdict is not None
    assert verdict.reasons
    box = lifecycle.pause(ws, box)
    assert box.state is BoxState.PAUSED
    assert ws.store.ledger.current(box.id) is None
    box = lifecycle.resume(ws, box)
    assert box.state is BoxState.RUNNING
    box = lifecycle.down(ws, box)
    assert box.state is BoxState.TERMINATED
    intervals = ws.store.ledger.of_box(box.id)
    assert len(intervals) == 2
    assert all(i.end is not None and i.price.micro_per_hour == 1_000_000 for i in intervals)


def test_each_verb_journals_its_steps_in_order_and_the_dashboard_knows_their_places(
    ws: Workspace,
) -> None:
    steps: list[tuple[str, str]] = []

    def note(step: str, when: str) -> None:
        if when == "before":
            (goal,) = ws.store.boxes.open_intents()
            steps.append((goal.goal, step))

    ws.on_step = note
    lifecycle.down(ws, lifecycle.resume(ws, lifecycle.pause(ws, lifecycle.up(ws, "b"))))
    reach = ["observe", "ssh", "login", "arm", "include"]
    stop = ["confirm", "forget"]
    assert [step for _, step in steps] == [
        *("create", *reach),
        *("pause", *stop),
        *("resume", *reach),
        *("terminate", *stop),
    ]
    assert {step for goal, step in steps if not symbols.progress(goal, step)} == {"include"}


def test_two_processes_up_at_once_make_one_box(ws: Workspace, home: Path) -> None:
    argv = [sys.executable, "-m", "tests.lifecycle.driver", "up", "-", "-"]
    env = {**os.environ, "PYTHONPATH": str(warm.ROOT)}
    ups = [
        warm.Popen(argv, cwd=home / "project", env=env, stderr=subprocess.PIPE) for _ in range(3)
    ]
    for up in ups:
        _, errors = up.communicate(timeout=60)
        late = (b"devbox.errors.Busy: ", b"devbox.errors.Conflict: a box named b exists already")
        assert up.returncode == 0 or errors.splitlines()[-1].startswith(late), errors
    lifecycle.reconcile(ws)
    assert ws.box("b").state is BoxState.RUNNING
    assert len(ws.provider("local").find()) == 1


def test_a_box_that_ends_itself_shows_as_paused_with_the_time_it_ended(ws: Workspace) -> None:
    box = lifecycle.up(ws, "b")
    recipe = ws.provider("local").watchdog(box.handle)
    assert recipe is not None
    subprocess.run(recipe.argv, check=True)
    deadline = time.monotonic() + 120
    while box.state is not BoxState.PAUSED:
        assert time.monotonic() < deadline
        (box,) = lifecycle.refresh(ws, [box])
    assert box.state is BoxState.PAUSED
    (interval,) = ws.store.ledger.of_box(box.id)
    assert interval.end is not None
    assert interval.end <= time.time()


def test_a_stranger_is_listed_then_adopted_or_removed(ws: Workspace) -> None:
    box = lifecycle.up(ws, "b")
    with ws.store.database.write() as connection:
        connection.execute("DELETE FROM intents")
        connection.execute("DELETE FROM boxes")
    (finding,) = lifecycle.reconcile(ws, provider="local")
    assert finding.kind == "stranger"
    (finding,) = lifecycle.reconcile(ws, provider="local", wanted="adopt")
    assert (finding.kind, finding.name) == ("adopted", "b")
    assert ws.box("b").token == box.token
    with ws.store.database.write() as connection:
        connection.execute("DELETE FROM boxes")
    (finding,) = lifecycle.reconcile(ws, provider="local", wanted="remove")
    assert finding.kind == "removed"
    assert ws.provider("local").find() == []


def test_a_budget_stops_up_before_anything_is_made(home: Path) -> None:
    ws = _open(home, TOML + "[budget]\nper_box = 2.0\n")
    with pytest.raises(BudgetError) as caught:
        lifecycle.up(ws, "b")
    assert caught.value.means == "nothing was started"
    assert ws.store.boxes.all() == []
    assert ws.provider("local").find() == []


def test_an_unknown_box_or_hardware_makes_nothing(home: Path) -> None:
    ws = _open(home, '[boxes.b]\nhardware = "h900"\n')
    with pytest.raises(NotFound, match="no box 'x'"):
        lifecycle.up(ws, "x")
    with pytest.raises(NotFound, match="h900"):
        lifecycle.up(ws, "b")
    assert ws.store.boxes.all() == []


def test_keep_is_capped_by_max_uptime_and_says_so(home: Path) -> None:
    ws = _open(home, '[boxes.b]\nmax_uptime = "1h"\n')
    told: list[str] = []
    ws.narrate = told.append
    box = lifecycle.up(ws, "b")
    try:
        until = lifecycle.keep(ws, box, 7200)
        assert until <= ws.clock() + 3600
        assert "max_uptime" in told[-1]
        assert lifecycle.keep(ws, box, 60) <= ws.clock() + 3600
        lifecycle.pause(ws, box)
        with pytest.raises(Conflict, match="paused"):
            lifecycle.keep(ws, ws.box("b"), 60)
    finally:
        lifecycle.down(ws, box)


def test_passing_faults_are_retried_with_the_waits_the_provider_asks_for(home: Path) -> None:
    ws = _open(home, TOML)
    waits: list[float] = []
    ws.sleep = waits.append
    answers = iter([Unavailable("busy"), Unavailable("limit", retry_after=7.0), "done"])

    def call() -> str:
        answer = next(answers)
        if isinstance(answer, Unavailable):
            raise answer
        return str(answer)

    assert with_retries(ws, call) == "done"
    assert waits == [0.5, 7.0]

    def never() -> None:
        raise Unavailable("down")

    with pytest.raises(Unavailable):
        with_retries(ws, never)


@pytest.mark.openssh
def test_up_mends_a_known_hosts_file_that_was_lost(ws: Workspace) -> None:
    box = lifecycle.up(ws, "b")
    paths.known_hosts().unlink()
    line = command.argv(box, ["true"], options=("-o", "ControlPath=none"))
    assert subprocess.run(line, check=False, capture_output=True).returncode
    assert lifecycle.up(ws, "b").id == box.id
    assert ws.store.boxes.open_intents() == []
    subprocess.run(line, check=True, capture_output=True)


@pytest.mark.parametrize("verb", ["pause", "down"])
def test_a_verb_that_cannot_save_first_says_how_to_go_on_without(home: Path, verb: str) -> None:
    ws = _open(home, TOML + '[boxes.b.sync]\ndown = ["results"]\n')
    box = lifecycle.up(ws, "b")
    ssh_config.abandon(box)
    paths.known_hosts().unlink()
    with pytest.raises(DevboxError) as caught:
        getattr(lifecycle, verb)(ws, box)
    assert f"devbox {verb} b --no-save" in caught.value.fix
    assert "still costing" in caught.value.means
    lifecycle.down(ws, box, save=False)
    ws.store.close()

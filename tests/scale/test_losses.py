"""Workers that are killed, connections that are cut and a coordinator that dies: every piece is in
the results once, and nothing is left running."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress

import psutil
import pytest

from devbox.model import BoxState
from devbox.workspace import Workspace
from tests.jobs.conftest import until
from tests.processes import arguments
from tests.scale.conftest import Shop


def until_worked(workshop: Shop, count: int) -> None:
    until(lambda: workshop.worked > count)


def kill_box(workshop: Shop, name: str) -> None:
    """All processes of a box, as when its machine is taken away."""
    ws = Workspace.open(workshop.root)
    token = ws.store.boxes.own(name, ws.here).token  # type: ignore[union-attr]
    ws.store.close()
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # it ended meanwhile
            named = any(token in word for word in process.cmdline())
            if named or token in process.environ().get("HOME", ""):
                process.kill()


def cut_connections() -> None:
    """Every ssh of this test."""
    home = os.environ["DEVBOX_HOME"]
    for process in psutil.process_iter():
        line = arguments(process)
        if line and line[0].endswith("ssh") and any(home in word for word in line):
            with suppress(psutil.Error):  # it ended meanwhile
                process.kill()


def left_running(workshop: Shop) -> list[str]:
    """Boxes that run, and processes of boxes."""
    ws = Workspace.open(workshop.root)
    boxes = ws.store.boxes.all(over=True)
    ws.store.close()
    found = [box.name for box in boxes if box.state is BoxState.RUNNING]
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # it ended meanwhile
            if any(box.token in process.environ().get("HOME", "") for box in boxes):
                found.append(" ".join(process.cmdline()))
    return found


def test_a_worker_that_is_killed_loses_nothing_but_time(workshop: Shop) -> None:
    workshop.texts(60)
    words = ("--then", "down", "--", "--texts", "texts", "--seconds", "0.1")
    with workshop.start("run", "copy", "--workers", "3", *words) as running:
        until(lambda: workshop.worked > 10)
        kill_box(workshop, "w-2")
        assert running.wait(240) == 0
    workshop.require_all(60)
    batch = workshop.batch()
    assert "lost" in {worker["state"] for worker in batch["workers"]}
    assert not left_running(workshop)


def test_a_cut_connection_is_no_loss(workshop: Shop) -> None:
    workshop.texts(60)
    words = ("--", "--texts", "texts", "--seconds", "0.1")
    with workshop.start("run", "copy", "--workers", "2", *words) as running:
        for count in (5, 20, 40):
            until_worked(workshop, count)
            cut_connections()
        assert running.wait(240) == 0
    workshop.require_all(60)
    assert workshop.worked == 60
    assert {worker["state"] for worker in workshop.batch()["workers"]} == {"over"}


@pytest.mark.timeout(600)
def test_a_thousand_pieces_through_everything_at_once(workshop: Shop) -> None:
    """6 boxes; two are killed, all connections cut twice, the coordinator killed and continued."""
    workshop.texts(1000)
    words = ("--then", "down", "--", "--texts", "texts", "--seconds", "0.05")
    running = workshop.start("run", "copy", "--workers", "6", *words)
    steps: list[tuple[int, Callable[[], object]]] = [
        (100, lambda: kill_box(workshop, "w-2")),
        (250, cut_connections),
        (400, lambda: running.send_signal(signal.SIGKILL)),
    ]
    for count, step in steps:
        until_worked(workshop, count)
        assert running.poll() is None
        step()
    running.wait(60)
    with workshop.start("attach") as again:
        for count, step in ((550, lambda: kill_box(workshop, "w-4")), (700, cut_connections)):
            until_worked(workshop, count)
            assert again.poll() is None
            step()
        assert again.wait(300) == 0
    workshop.require_all(1000)
    batch = workshop.batch()
    assert (batch["state"], batch["counts"]["done"]) == ("succeeded", 1000)
    costs = [part["cost_micro_dollars"] for part in batch["parts"]]
    assert batch["cost_micro_dollars"] == sum(costs)
    assert not left_running(workshop)


def test_a_part_that_could_not_be_ended_is_told_and_ended_by_a_second_try(workshop: Shop) -> None:
    workshop.texts(200)
    words = ("--", "--texts", "texts", "--seconds", "0.2")
    with workshop.start("run", "copy", "--workers", "1", *words) as running:
        until_worked(workshop, 3)
        running.send_signal(signal.SIGKILL)
    hidden = workshop.root.parent / ".devbox/ssh"
    hidden.rename(hidden.with_name("elsewhere"))
    said = workshop.devbox("cancel").stderr
    assert "w-1: its part was not ended" in said
    hidden.with_name("elsewhere").rename(hidden)
    assert workshop.devbox("cancel", workshop.batch()["id"]).returncode == 0
    assert workshop.batch()["parts"][0]["state"] == "cancelled"


def test_a_box_on_which_no_part_can_begin_is_not_left_running(workshop: Shop) -> None:
    toml = workshop.root / "devbox.toml"
    toml.write_text(toml.read_text().replace("[boxes.w]\n", '[boxes.w]\nsetup = ["false"]\n'))
    assert workshop.devbox("trust", "--yes").returncode == 0
    workshop.texts(3)
    words = ("run", "copy", "--workers", "2", "--then", "down", "--", "--texts", "texts")
    done = workshop.devbox(*words)
    assert done.returncode == 11, done.stderr
    assert "the setup of w-1 failed" in done.stderr
    assert workshop.batch()["state"] == "failed"
    assert not left_running(workshop)

"""Connections that are cut or hang, parts that cannot begin or be ended, and what is told."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.jobs.conftest import until
from tests.processes import arguments, command_line, send
from tests.scale.conftest import Shop
from tests.scale.driver import END
from tests.scale.worlds import World, connections, cut_connections, world

ARM = " arm agent"  # ends what its ssh runs


@pytest.fixture
def there(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with world("local", home, monkeypatch.setenv) as made:
        yield made


@pytest.fixture
def workshop(there: World) -> Shop:
    return there.shop


def until_worked(workshop: Shop, count: int) -> None:
    until(lambda: workshop.worked > count)


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


def test_a_connection_that_is_cut_while_a_worker_comes_up_is_no_loss(workshop: Shop) -> None:
    """In the middle of its `up`: while its watchdog is armed."""
    workshop.texts(20)
    with workshop.start("run", "copy", "--workers", "2", "--", "--texts", "texts") as running:
        for process in until(arming):
            send(process, signal.SIGKILL)
        assert running.wait(240) == 0, workshop.said
    workshop.require_all(20)
    workers = workshop.batch()["workers"]
    assert [worker["state"] for worker in workers] == ["over", "over"], workshop.said
    assert "trying again" in workshop.said


def arming() -> list[psutil.Process]:
    return [each for each in connections() if arguments(each)[-1:] and ARM in arguments(each)[-1]]


def hung(there: World) -> tuple[str, list[psutil.Process]]:
    """All ssh programs to a worker, which hang from now on; its box."""
    (box, _), *_ = there.workers()
    shared = until(lambda: [p for p in connections(box.alias) if "[mux]" in command_line(p)])
    for process in [*shared, *connections(box.alias)]:
        send(process, signal.SIGSTOP)
    return box.id, shared


def test_a_connection_that_hangs_holds_up_no_other_worker(there: World) -> None:
    """This devbox has more patience than the test has time."""
    shop = there.shop
    shop.texts(60)
    words = ("run", "copy", "--workers", "3", "--", "--texts", "texts", "--seconds", "0.1")
    with shop.start(*words, change="1000") as running:
        until(lambda: shop.made > 6)
        box, stopped = hung(there)

        def others_are_done() -> bool:
            with shop.workspace() as ws:
                (batch,) = ws.store.batches.open()
                (number,) = (
                    w.number for w in ws.store.batches.workers(batch.id) if w.box_id == box
                )
                left = [p for p in ws.store.batches.pieces(batch.id) if not p.state.is_settled]
            return all(piece.worker == number for piece in left)

        until(others_are_done)
        assert running.poll() is None
        for process in stopped:
            send(process, signal.SIGCONT)
        for process in connections():
            send(process, signal.SIGCONT)
        assert running.wait(240) == 0, shop.said
    shop.require_all(60)
    assert shop.worked == 60


def test_a_connection_that_hangs_is_replaced(there: World) -> None:
    shop = there.shop
    shop.texts(60)
    words = ("run", "copy", "--workers", "2", "--", "--texts", "texts", "--seconds", "0.1")
    with shop.start(*words, change="3") as running:
        until(lambda: shop.made > 6)
        _, stopped = hung(there)
        assert running.wait(240) == 0, shop.said
    shop.require_all(60)
    assert shop.worked == 60
    assert all(each.status() == psutil.STATUS_STOPPED for each in stopped)
    for process in stopped:
        process.kill()


def test_who_takes_over_after_a_merge_that_was_not_written_down_has_each_result_once(
    workshop: Shop, home: Path
) -> None:
    workshop.texts(60)
    words = ("run", "copy", "--workers", "2", "--", "--texts", "texts", "--seconds", "0.1")
    with workshop.start(*words, change="dies") as first:
        until(lambda: workshop.made > 4)
        with workshop.start("attach") as second:
            until(lambda: workshop.made > 20)
            assert second.poll() is first.poll() is None
            (home / ".devbox" / END).touch()
            assert first.wait(60) == -signal.SIGKILL
            assert second.wait(240) == 0, workshop.said
    workshop.require_all(60)
    assert workshop.worked == 60
    summaries = [json.loads(path.read_text()) for path in workshop.results.glob("summary*.json")]
    assert Counter(name for names in summaries for name in names) == {
        f"t{n:04}.txt": 1 for n in range(60)
    }
    assert workshop.batch()["counts"]["done"] == 60


def test_what_was_given_out_at_once_to_a_worker_that_is_lost_is_given_again(workshop: Shop) -> None:
    workshop.texts(40)
    words = ("run", "copy", "--workers", "2", "--detach", "--", "--texts", "texts")
    done = workshop.devbox(*words, "--seconds", "0.2")
    assert done.returncode == 0, done.stderr
    ended = workshop.devbox("down", "w-2", "--yes", "--no-save")
    assert ended.returncode == 0, ended.stderr
    again = workshop.devbox("attach")
    assert again.returncode == 0, again.stderr
    workshop.require_all(40)
    assert "w-2: lost: its box is terminated" in again.stderr


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


def test_a_box_on_which_no_part_can_begin_is_not_left_running(there: World) -> None:
    workshop = there.shop
    workshop.setup("false")
    workshop.texts(3)
    words = ("run", "copy", "--workers", "2", "--then", "down", "--", "--texts", "texts")
    done = workshop.devbox(*words)
    assert done.returncode == 11, done.stderr
    assert "the setup of w-1 failed" in done.stderr
    assert workshop.batch()["state"] == "failed"
    assert not there.left()

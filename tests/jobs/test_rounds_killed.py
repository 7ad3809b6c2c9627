"""A run that works in rounds and is killed: each piece is worked on once all the same."""

from __future__ import annotations

import fcntl
import os
import signal
from pathlib import Path

import psutil

from tests.jobs.conftest import BoxHalf, until
from tests.jobs.rounds import Batch


def test_a_worker_that_is_killed_in_the_middle_of_a_round_continues_with_it(box: BoxHalf) -> None:
    batch = Batch(box, ["a", "b", "c"])
    batch.start()
    batch.ask(batch.round(1, a="one", b="wait", c="three"), close=True)
    until(lambda: "a.out" in batch.out(1))
    until(lambda: '"b","state":"started"' in (box.root / "runs/r1/items.jsonl").read_text())
    first = batch.worker()
    first.kill()
    status = box.end()
    assert status["failures"] == [{"item": "b", "error": "crashed the worker (SIGKILL)"}]
    assert status["counts"] == {"total": 3, "done": 2, "failed": 1, "skipped": 0}
    made = {name: text.split() for name, text in batch.out(1).items()}
    assert made["a.out"][1] == str(first.pid) != made["c.out"][1]


def test_a_worker_that_is_killed_between_a_rounds_end_and_its_record_does_nothing_twice(
    one_box: BoxHalf,
) -> None:
    """It is held while it waits for the lock that its record needs."""
    batch = Batch(one_box, ["a", "b"])
    batch.start()
    batch.ask(batch.round(1, a="one", b="wait"))
    until(lambda: "a.out" in batch.out(1))
    with (one_box.root / "runs" / "r1" / "rounds.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (one_box.workdir / "go").touch()
        until(lambda: "b.out" in batch.out(1))
        worker = batch.worker()
        until(lambda: _is_blocked(worker))
        worker.kill()
        worker.wait(60)
        fcntl.flock(lock, fcntl.LOCK_UN)
    answer = batch.finished(1)
    assert answer.finished[0].done == 2
    assert {text.split()[1] for text in batch.out(1).values()} == {str(worker.pid)}
    batch.ask(close=True)
    assert one_box.end()["state"] == "succeeded"


def _is_blocked(process: psutil.Process) -> bool:
    """It sleeps in a system call of file locks (flock is 73 on x86-64, 32 on arm64)."""
    try:
        number = Path(f"/proc/{process.pid}/syscall").read_text().split()[0]
    except OSError:
        return False
    return number in ("73", "32")


def test_an_item_that_kills_its_worker_costs_only_itself(one_box: BoxHalf) -> None:
    batch = Batch(one_box, ["a", "b", "c", "d"])
    batch.start()
    batch.ask(batch.round(1, a="one", b="poison", c="three"), batch.round(2, d="four"), close=True)
    status = one_box.end()
    assert status["counts"] == {"total": 4, "done": 3, "failed": 1, "skipped": 0}
    (one, two) = batch.ask().finished
    assert [tuple(each) for each in one.failed] == [("b", "crashed the worker (SIGSEGV)")]
    assert (one.done, two.done) == (2, 1)
    assert (sorted(batch.out(1)), sorted(batch.out(2))) == (["a.out", "c.out"], ["d.out"])


def test_work_without_items_that_kills_its_worker_twice_fails_its_round(one_box: BoxHalf) -> None:
    code = (
        "import os\n"
        "def run(job):\n"
        "    for path in job.files('images'):\n"
        "        if path.read_text() == 'poison': os.kill(os.getpid(), 11)\n"
        "        job.write(path.name, 'made')\n"
    )
    batch = Batch(one_box, ["a", "b"], module=one_box.module(code))
    batch.start()
    batch.ask(batch.round(1, a="poison"), batch.round(2, b="two"), close=True)
    assert one_box.end()["counts"] == {"total": 2, "done": 1, "failed": 1, "skipped": 0}
    one, two = batch.ask().finished
    assert [tuple(each) for each in one.failed] == [("a", "crashed the worker (SIGSEGV) twice")]
    assert (two.done, two.failed) == (1, ())


def test_a_worker_that_is_killed_while_it_waits_is_replaced(one_box: BoxHalf) -> None:
    batch = Batch(one_box, ["a"])
    batch.start()
    until(batch.waits)
    first = batch.worker()
    first.kill()
    first.wait(60)
    batch.ask(batch.round(1, a="one"), close=True)
    assert one_box.end()["state"] == "succeeded"
    assert batch.out(1)["a.out"].split()[1] != str(first.pid)
    assert not batch.waits()


def test_after_a_killed_supervisor_a_retry_continues_with_the_round(box: BoxHalf) -> None:
    batch = Batch(box, ["a", "b", "c", "d"])
    batch.start()
    batch.ask(batch.round(1, d="bad"), batch.round(2, a="one", b="wait"), batch.round(3, c="three"))
    until(lambda: "a.out" in batch.out(2))
    os.kill(box.file()["supervisor"]["pid"], signal.SIGKILL)
    answer = until(lambda: (found := batch.ask()).status.is_over and found)
    assert (answer.begun, answer.waiting) == ((2,), (3,))
    (box.workdir / "go").touch()
    batch.start(attempt=2)
    batch.ask(close=True)
    status = box.end()
    assert status["counts"] == {"total": 4, "done": 3, "failed": 1, "skipped": 0}
    assert [each.number for each in batch.ask().finished] == [1, 2, 3]
    first, second = (batch.out(2)[name].split()[1] for name in ("a.out", "b.out"))
    assert first != second == batch.out(3)["c.out"].split()[1]


def test_what_an_over_run_had_begun_may_be_withdrawn_and_is_not_worked_on(one_box: BoxHalf) -> None:
    """Its pieces were given to another box meanwhile."""
    batch = Batch(one_box, ["a", "b"])
    batch.start()
    batch.ask(batch.round(1, a="wait"))
    until(lambda: batch.ask().begun == (1,))
    assert batch.ask(withdraw=[1]).begun == (1,), "it is being worked on"
    os.kill(one_box.file()["supervisor"]["pid"], signal.SIGKILL)
    until(lambda: batch.ask().status.is_over)
    assert batch.ask(withdraw=[1]).withdrawn == (1,)
    batch.start(attempt=2)
    batch.ask(batch.round(2, b="two"), close=True)
    assert one_box.end()["counts"] == {"total": 1, "done": 1, "failed": 0, "skipped": 0}
    assert [each.number for each in batch.ask().finished] == [2]

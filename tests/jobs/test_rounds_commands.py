"""A command that works in rounds."""

from __future__ import annotations

import sys

import psutil

from tests.jobs.conftest import BoxHalf, until
from tests.jobs.rounds import Batch

COMMAND = """
import json, os, sys, time
told = open(os.environ["DEVBOX_EVENTS"], "a")
assert os.environ["DEVBOX_INPUT_IMAGES"] == sys.argv[1] and os.environ["DEVBOX_OUT"] == sys.argv[2]
names = sorted(os.listdir(sys.argv[1]))
for name in names:
    text = open(os.path.join(sys.argv[1], name)).read()
    while text == "wait" and not os.path.exists("go"): time.sleep(0.02)
    if text == "segv": os.kill(os.getpid(), 11)
    if text == "exit": sys.exit(7)
    open(os.path.join(sys.argv[2], name), "w").write(text + " " + str(os.getpid()))
    if text == "told":
        told.write(json.dumps({"item": name, "state": "done"}) + "\\n"); told.flush()
    if text == "bad":
        told.write(json.dumps({"item": name, "state": "failed", "error": "blurred"}) + "\\n")
print("worked on", *names)
"""


def commanded(box: BoxHalf, *names: str) -> Batch:
    (box.workdir / "work.py").write_text(COMMAND)
    command = [sys.executable, "work.py", "{images}", "{out}"]
    return Batch(box, [*names], module="", command=command, template=True)


def test_a_command_runs_once_a_round(one_box: BoxHalf) -> None:
    batch = commanded(one_box, *"abcdefg")
    batch.start()
    batch.ask(
        batch.round(1, a="x", b="x"),
        batch.round(2, c="told", d="exit"),
        batch.round(3, e="bad", f="told"),
        batch.round(4, g="segv"),
        close=True,
    )
    status = one_box.end()
    one, two, three, four = batch.ask().finished
    assert (one.done, one.failed) == (2, ())
    assert two.done == 1
    assert [tuple(each) for each in two.failed] == [("d", "ended with exit code 7")]
    assert [tuple(each) for each in three.failed] == [("e", "blurred")]
    assert [tuple(each) for each in four.failed] == [("g", "killed by SIGSEGV")]
    assert status["counts"] == {"total": 7, "done": 4, "failed": 3, "skipped": 0}
    assert (status["state"], status["reason"]) == ("failed", "items")
    assert sorted(batch.out(1)) == ["a", "b"]
    assert len({text.split()[1] for text in batch.out(1).values()}) == 1
    assert one_box.log().splitlines()[0] == "worked on a b"


def test_a_command_that_is_not_there_fails_each_round(one_box: BoxHalf) -> None:
    batch = Batch(one_box, ["a"], module="", command=["no-such-program"])
    batch.start()
    batch.ask(batch.round(1, a="x"), close=True)
    one_box.end()
    (one,) = batch.ask().finished
    assert one.failed[0].error == "no-such-program: command not found on the box"


def test_a_command_whose_worker_is_killed_runs_again_and_alone(one_box: BoxHalf) -> None:
    batch = commanded(one_box, "a", "b")
    batch.start()
    batch.ask(batch.round(1, a="told", b="wait"), close=True)
    until(lambda: "a" in batch.out(1))
    worker = batch.worker()
    (child,) = worker.children()
    worker.kill()
    psutil.wait_procs([worker, child], timeout=60)
    (one_box.workdir / "go").touch()
    assert one_box.end()["state"] == "succeeded"
    assert {text.split()[1] for text in batch.out(1).values()} & {str(child.pid)} == set()


def test_a_cancel_ends_the_command_of_a_round(one_box: BoxHalf) -> None:
    batch = commanded(one_box, "a")
    batch.start()
    batch.ask(batch.round(1, a="wait"), close=True)
    child = until(lambda: batch.worker().children())[0]
    assert one_box.job("cancel", "r1")["state"] == "cancelled"
    assert not child.is_running()
    assert batch.ask().begun == (1,)

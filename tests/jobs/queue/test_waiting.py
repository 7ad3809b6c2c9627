"""Runs that wait for other runs and for their turn: real supervisors over a stub driver."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest

from devbox.box.runs import order, turn
from devbox.box.runs.folder import RunFolder
from devbox.wire.jobs import JobRequest, QueueRequest
from tests.jobs.conftest import REPOSITORY, until
from tests.jobs.queue.conftest import Queue, entries, read


def test_it_begins_after_others_have_succeeded(queue: Queue) -> None:
    queue.start("a", gpus=0)
    queue.start("b", gpus=0, after=["a"])
    waits = queue.start("c", gpus=2, after=["a", "b"])
    assert (waits["state"], waits["queue"]["place"]) == ("queued", None)
    assert waits["queue"]["why"] == "waits for 2 runs: a, b"
    assert queue.start("d", gpus=2)["state"] == "running", "c holds up nobody meanwhile"
    queue.end("a")
    until(lambda: queue.state("b") == "running")
    until(lambda: queue.why("c") == "waits for run b")
    queue.end("b")
    until(lambda: queue.why("c") == "waits for 2 GPUs: held by d")
    queue.end("d")
    assert queue.end("c")["state"] == "succeeded"


def test_it_fails_when_one_before_it_did(queue: Queue) -> None:
    queue.start(
        "a", gpus=0, command=["sh", "-c", "while [ ! -e go-a ]; do sleep 0.05; done; exit 3"]
    )
    queue.start("b", gpus=0, after=["a"])
    queue.start("c", gpus=0, after=["b"])
    queue.go("a")
    status = queue.over("b")
    assert (status["state"], status["reason"], status["attempts"]) == ("failed", "after", [])
    why = "run a, which it was to begin after, is failed: ended with exit code 3"
    assert status["message"] == why
    assert queue.over("c")["message"].startswith("run b, which it was to begin after, is failed")
    queue.half.start("a", attempt=2, command=["true"], queue={"gpus": 0})
    queue.over("a")
    again = queue.half.start("b", attempt=2, command=["true"], queue={"after": ["a"]})
    assert again["attempt"] == 2
    assert queue.over("b")["state"] == "succeeded"


def test_after_one_that_is_over_already(queue: Queue) -> None:
    queue.start("good", gpus=0, command=["true"])
    queue.start("bad", gpus=0, command=["false"])
    queue.over("good")
    queue.over("bad")
    assert queue.start("b", gpus=0, after=["good"], command=["true"])["attempts"], "at once"
    assert queue.over("b")["state"] == "succeeded"
    assert queue.start("c", gpus=0, after=["bad"])["state"] == "failed"
    assert queue.half.status("c")["message"].startswith("run bad, which it was to begin after")


def test_one_before_it_whose_supervisor_was_killed_is_found_out(queue: Queue) -> None:
    queue.start("a", gpus=0)
    queue.start("b", gpus=0, after=["a"])
    queue.kill("a")
    assert queue.over("b")["message"].startswith(
        "run a, which it was to begin after, is failed: int"
    )


def test_hostile_and_impossible_requests_are_refused(queue: Queue) -> None:
    queue.start("a", gpus=0)
    for asked, said in [
        ({"after": ["nobody"]}, "this box has no run nobody, to begin after"),
        ({"after": ["../../etc"]}, "a run id is lower-case letters, digits and '-'"),
        ({"after": ["x"] * 101}, "a run waits for at most 100 runs"),
        ({"after": ["b"]}, "this box has no run b, to begin after"),
        ({"gpus": -1}, "gpus is not a whole number from 0 to 1024"),
        ({"gpus": 1e300}, "gpus is not a whole number from 0 to 1024"),
        ({"gpus": "1"}, "gpus is not a whole number from 0 to 1024"),
        ({"priority": 10**30}, "priority is not a whole number from -1000 to 1000"),
        ({"max_runs": 0}, "max_runs is not a whole number from 1 to 10000"),
        ({"after": "a"}, "after is not a list"),
        ([], "queue is not an object"),
    ]:
        refused = queue.half.start("b", command=["true"], queue=asked)
        assert refused["error"] in ("bad_request", "not_found")
        assert said in refused["message"]
    assert queue.half.job("status", "b")["error"] == "not_found"


def test_no_runs_come_to_wait_for_each_other(queue: Queue) -> None:
    queue.start("a", gpus=0, command=["true"])
    queue.over("a")
    queue.start("slow", gpus=0)
    queue.start("b", gpus=0, after=["a", "slow"])
    queue.start("c", gpus=0, after=["b"])
    refused = queue.half.start("a", attempt=2, command=["true"], queue={"after": ["c"]})
    assert refused["message"] == "run a would wait for itself"
    refused = queue.half.start("a", attempt=2, command=["true"], queue={"after": ["a"]})
    assert refused["message"] == "run a would wait for itself"
    assert queue.half.status("a")["state"] == "succeeded"


def test_cancel_of_one_that_waits_is_at_once_and_leaves_no_trace_in_the_queue(queue: Queue) -> None:
    queue.start("a", gpus=2)
    queue.start("b", gpus=2, secrets={"w": "token"})
    queue.start("c", gpus=0, after=["b"])
    status = queue.half.job("cancel", "b")
    assert (status["state"], status["message"]) == ("cancelled", "cancelled; it had not begun")
    assert (status["attempts"], status["queue"]) == ([], None)
    assert entries(queue, "b") == []
    assert not (queue.half.root / "runs" / "b" / "secrets.json").exists()
    assert queue.over("c")["message"].startswith("run b, which it was to begin after, is cancelled")
    assert not queue.half.processes("b")


def test_a_retry_waits_as_the_first_attempt_did(queue: Queue) -> None:
    queue.start("a", gpus=2, command=["false"])
    queue.over("a")
    queue.start("b", gpus=2)
    again = queue.start("a", gpus=2, attempt=2)
    assert (again["state"], again["attempt"], len(again["attempts"])) == ("queued", 2, 1)
    assert again["attempts"][0]["ended"] is not None
    assert queue.start("a", gpus=2, attempt=2)["state"] == "queued", "a lost reply asked for again"
    queue.kill("a")
    ended = queue.half.status("a")["attempts"]
    assert ended == again["attempts"], "no attempt began"
    assert queue.start("a", gpus=2, attempt=3)["state"] == "queued"
    queue.end("b")
    assert queue.end("a")["state"] == "succeeded"


def test_a_box_that_goes_down_says_so_of_those_that_wait(queue: Queue) -> None:
    queue.start("a", gpus=2)
    queue.start("b", gpus=2)
    os.kill(queue.half.file("b")["supervisor"]["pid"], signal.SIGTERM)
    assert queue.over("b")["message"] == "interrupted: the box was going down; it had not begun"


def test_a_timeout_counts_from_the_begin(queue: Queue) -> None:
    queue.start("a", gpus=2)
    queue.start("b", gpus=2, timeout=0.5, grace=0.2)
    queue.half.job("cancel", "a")
    assert queue.over("b")["message"] == "ended after its timeout of 0.5 s; what is done is kept"


def test_a_follower_reads_of_the_wait_and_of_the_begin(queue: Queue) -> None:
    queue.start("a", gpus=2)
    queue.start("b", gpus=2, command=["echo", "done"])
    reader = queue.half.popen("follow", "b")
    assert reader.stdout
    heard: list[dict[str, Any]] = []
    while not any(m.get("status", {}).get("state") == "queued" for m in heard):
        heard.append(json.loads(reader.stdout.readline()))
    queue.end("a")
    heard += [json.loads(line) for line in reader.stdout]
    kinds = [m["event"]["kind"] for m in heard if "event" in m]
    assert kinds == ["queued", "started", "ended"]
    assert heard[-1]["status"]["state"] == "succeeded"
    assert reader.stdin
    reader.stdin.close()
    assert reader.wait(60) == 0


CROWD = """
import os, sys
from devbox.box.runs import queue, turn
from devbox.box.runs.folder import RunFolder
from devbox.wire.jobs import JobRequest, JobStatus, QueueRequest
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
for number in range(int(sys.argv[1])):
    folder = RunFolder(f"c{number:02}")
    folder.path.mkdir()
    if not os.fork():
        wants = QueueRequest(gpus=1, priority=number % 3)
        assert turn.take(folder, JobRequest(folder.id, "c", command=("x",), queue=wants))
        with open("order", "a") as stream:
            stream.write(folder.id + chr(10))
        folder.write_status(JobStatus(id=folder.id, job="c", state="succeeded", attempt=1))
        queue.wake()
        os._exit(0)
    while not folder.queued.exists():
        pass
while True:
    try:
        os.wait()
    except ChildProcessError:
        break
"""


def test_fifty_begin_by_priority_and_age(queue: Queue) -> None:
    """Of one GPU at a time, so that none begins beside another."""
    queue.driver.set(1, lost=1)
    queue.start("a")
    argv = [sys.executable, "-c", CROWD, "50"]
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    crowd = subprocess.Popen(argv, cwd=queue.half.workdir, env=env)
    names = [f"c{number:02}" for number in range(50)]
    wanted = sorted(names, key=lambda name: (-(int(name[1:]) % 3), name))
    until(lambda: all((queue.half.root / "runs" / n / "status.json").exists() for n in names))
    until(lambda: [queue.half.file(n)["queue"]["place"] for n in wanted] == [*range(1, 51)])
    queue.end("a")
    assert crowd.wait(300) == 0
    assert read(queue.half.workdir / "order").split() == wanted


def test_a_clock_that_is_set_back_changes_no_order(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = iter([2e9, 1e9])
    monkeypatch.setattr(
        turn, "time", SimpleNamespace(time=lambda: next(moments), monotonic=time.monotonic)
    )
    entries = {
        name: turn.Turn(
            RunFolder(name), JobRequest(name, "t", queue=QueueRequest(gpus=1)), None
        ).entry
        for name in ("first", "second")
    }
    assert order.in_order(entries) == ["first", "second"]


def test_a_service_waits_for_its_gpu_and_its_time_to_get_ready_begins_then(queue: Queue) -> None:
    queue.start("a", gpus=2)
    serve = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "{port}"]
    service = {"health": "", "start_timeout": 60}
    waits = queue.start("s", command=serve, template=True, service=service)
    assert (waits["state"], waits["service"]["ready"]) == ("queued", False)
    queue.start("b")
    assert queue.why("b") == "waits for 1 GPU: held by a"
    queue.end("a")
    until(lambda: (queue.half.file("s").get("service") or {}).get("ready"))
    assert queue.half.file("s")["gpus"] == ["GPU-stub-0"]
    until(lambda: queue.state("b") == "running")
    queue.start("c")
    assert queue.why("c") == "waits for 1 GPU: held by b, s"
    queue.end("b")
    until(lambda: queue.state("c") == "running")
    queue.end("c")
    queue.start("d", gpus=2)
    assert queue.why("d") == "waits for 2 GPUs, 1 free: held by service s"
    queue.half.job("cancel", "s")
    until(lambda: queue.state("d") == "running")


def test_only_one_service_of_a_name_waits(queue: Queue) -> None:
    queue.start("a", gpus=2)
    served = {"service": {"health": ""}, "queue": {"gpus": 1}, "command": ["sleep", "300"]}
    assert queue.half.start("s1", **served)["state"] == "queued"
    assert queue.half.start("s2", **served)["message"] == "service test runs already as s1"
    refused = queue.start("b", gpus=0, after=["s1"])
    assert refused["message"].startswith("s1 is a service, which does not end by itself")

"""Runs that wait for GPUs, for other runs and for a place: real supervisors over a stub driver."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from devbox.box.probes.gpu.csv import FIELDS
from devbox.box.runs import folder, order, turn
from devbox.box.runs.folder import RunFolder
from devbox.wire.jobs import JobRequest, QueueRequest
from tests.box.test_nvml_abi import Driver
from tests.jobs.conftest import REPOSITORY, BoxHalf, until

GB = 1 << 30
GO = [
    "sh",
    "-c",
    "echo $CUDA_VISIBLE_DEVICES; while [ ! -e go-$DEVBOX_RUN_ID ]; do sleep 0.05; done",
]


class Queue:
    """A box with two GPUs, both unused."""

    def __init__(self, half: BoxHalf, driver: Driver) -> None:
        self.half, self.driver = half, driver
        for index in range(2):
            driver.set(index, mem_used=0)

    def start(self, run: str, gpus: int = 1, **fields: Any) -> dict[str, Any]:
        wants = {k: fields.pop(k) for k in ("after", "priority", "max_runs") if k in fields}
        command = fields.pop("command", GO)
        return self.half.start(run, command=command, queue={"gpus": gpus, **wants}, **fields)

    def go(self, run: str) -> None:
        (self.half.workdir / f"go-{run}").touch()

    def end(self, run: str) -> dict[str, Any]:
        self.go(run)
        return self.over(run)

    def over(self, run: str) -> dict[str, Any]:
        until(lambda: self.half.file(run)["ended"])
        return self.half.status(run)

    def state(self, run: str) -> str:
        return str(self.half.file(run)["state"])

    def why(self, run: str) -> str:
        queue = self.half.file(run)["queue"]
        return str(queue["why"]) if queue else ""

    def kill(self, run: str) -> None:
        os.kill(self.half.file(run)["supervisor"]["pid"], signal.SIGKILL)


@pytest.fixture
def queue(one_box: BoxHalf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    driver = Driver(tmp_path)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    monkeypatch.setenv("NVML_STUB", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    yield Queue(one_box, driver)
    driver.close()


def test_a_run_gets_gpus_of_its_own_and_the_next_one_waits_for_them(queue: Queue) -> None:
    first = queue.start("a")
    assert (first["state"], first["gpus"]) == ("running", ["GPU-stub-0"])
    assert queue.start("b")["gpus"] == ["GPU-stub-1"]
    waits = queue.start("c")
    assert (waits["state"], waits["attempts"], waits["started"]) == ("queued", [], None)
    assert waits["queue"]["why"] == "waits for 1 GPU: held by a, b"
    assert (waits["queue"]["waits_for"], waits["queue"]["place"]) == ("gpus", 1)
    assert queue.end("b")["gpus"] == ["GPU-stub-1"], "kept when it is over"
    until(lambda: queue.state("c") == "running")
    assert queue.half.file("c")["gpus"] == ["GPU-stub-1"]
    assert queue.half.file("c")["queue"] is None
    assert queue.end("c")["state"] == "succeeded"
    assert queue.half.log("c") == "GPU-stub-1\n"


def test_runs_without_gpus_begin_at_once_and_see_all(queue: Queue) -> None:
    queue.start("a", gpus=2)
    free = queue.half.start("free", command=["sh", "-c", "echo ${CUDA_VISIBLE_DEVICES-unset}"])
    assert free["state"] in ("running", "succeeded")
    assert queue.over("free")["gpus"] == []
    assert queue.half.log("free") == "unset\n"


RACE = """
import os, sys
from devbox.box.runs import turn
from devbox.box.runs.folder import RunFolder
from devbox.wire.jobs import JobRequest, JobStatus, QueueRequest
who, rounds = sys.argv[1], int(sys.argv[2])
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
for number in range(rounds):
    folder = RunFolder(f"{who}-{number}")
    folder.path.mkdir()
    request = JobRequest(folder.id, "race", command=("x",), queue=QueueRequest(gpus=2))
    assert turn.take(folder, request) == ("GPU-stub-0", "GPU-stub-1")
    os.close(os.open("both", os.O_CREAT | os.O_EXCL))
    os.unlink("both")
    folder.write_status(JobStatus(id=folder.id, job="race", state="succeeded", attempt=1))
"""


def test_those_that_race_for_the_last_gpus_never_both_have_them(queue: Queue) -> None:
    argv = [sys.executable, "-c", RACE]
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    racers = [subprocess.Popen([*argv, who, "6"], cwd=queue.half.workdir, env=env) for who in "abc"]
    assert [racer.wait(300) for racer in racers] == [0, 0, 0]
    assert folder.active() == []


def test_many_that_start_at_once_have_each_gpu_one_at_a_time(queue: Queue) -> None:
    alone = "mkdir $CUDA_VISIBLE_DEVICES && sleep 0.1 && rmdir $CUDA_VISIBLE_DEVICES"
    starts = []
    for n in range(10):
        starts.append(queue.half.popen("start"))
        request = {"v": 1, "id": f"r{n}", "job": "t", "command": ["sh", "-c", alone]}
        stdin = starts[-1].stdin
        assert stdin
        stdin.write(json.dumps({**request, "queue": {"gpus": 1}}).encode())
        stdin.close()
    for process in starts:
        process.wait(120)
        assert process.stdout
        process.stdout.close()
    assert {queue.over(f"r{n}")["message"] for n in range(10)} == {""}


def test_a_killed_supervisor_frees_its_gpus_once_what_it_left_has_ended(queue: Queue) -> None:
    stray = "setsid sh -c 'echo $$ > stray; exec sleep 300' & wait"
    queue.start("a", gpus=2, command=["sh", "-c", stray])
    pid = int(until(lambda: _read(queue.half.workdir / "stray")))
    check = "grep -q sleep /proc/$(cat stray)/cmdline 2>/dev/null && exit 9; exit 0"
    queue.start("b", gpus=1, command=["sh", "-c", check])
    assert queue.state("b") == "queued"
    queue.kill("a")
    assert queue.over("b")["state"] == "succeeded"
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    assert queue.half.file("a")["reason"] == "interrupted", "told without anybody who asked"


def _read(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""


def test_a_killed_one_that_waits_holds_up_nobody(queue: Queue) -> None:
    queue.start("a", gpus=2)
    queue.start("b", gpus=2)
    queue.start("c", gpus=1)
    assert queue.why("c") == "waits for 1 GPU: held by a"
    queue.kill("b")
    queue.end("a")
    until(lambda: queue.state("c") == "running")
    status = queue.half.status("b")
    assert (status["state"], status["reason"]) == ("failed", "interrupted")
    assert status["message"] == "interrupted: its supervisor was killed; it had not begun"
    assert status["attempts"] == []
    assert folder.active() == ["c"]


def test_after_a_reboot_nothing_is_held(queue: Queue) -> None:
    queue.start("a", gpus=2)
    queue.start("b", gpus=2)
    queue.half.clear()
    for name in ("a", "b"):  # as the last boot left them
        for path in (queue.half.root / "runs" / name / "status.json", *_entries(queue, name)):
            found = json.loads(path.read_text())
            found["supervisor"].update(boot="another", pid=os.getpid())
            path.write_text(json.dumps(found))
    assert queue.start("c", gpus=2)["state"] == "running"
    assert queue.half.status("a")["message"].startswith("interrupted: the box was restarted")
    message = "interrupted: the box was restarted; it had not begun"
    assert queue.half.status("b")["message"] == message
    assert _entries(queue, "a") == _entries(queue, "b") == []


def _entries(queue: Queue, run: str) -> list[Path]:
    both = (queue.half.root / where / run for where in ("queued", "holding"))
    return [path for path in both if path.exists()]


def test_an_entry_that_cannot_be_read_holds_nothing(queue: Queue) -> None:
    for where in folder.all_queued():
        (where / "torn").write_text('{"supervisor": {"pid"')
        (where / "..evil").write_text("{}")
    assert queue.start("a", gpus=2)["state"] == "running"
    assert queue.start("b", gpus=2)["state"] == "queued"
    assert not (queue.half.root / "queued" / "torn").exists()


def test_it_begins_when_other_programs_have_left_the_gpu(queue: Queue) -> None:
    queue.driver.set(0, mem_used=12 * GB, pid=os.getpid(), held=12 * GB)
    assert queue.start("a")["gpus"] == ["GPU-stub-1"]
    waits = queue.start("b")
    assert waits["queue"]["why"] == "waits for 1 GPU: other programs use GPU 0 (12.9 GB)"
    assert waits["queue"]["waits_for"] == "programs"
    queue.driver.set(0, mem_used=GB // 2)
    until(lambda: queue.state("b") == "running")
    assert queue.half.file("b")["gpus"] == ["GPU-stub-0"]


def test_what_a_box_can_never_give_is_refused(queue: Queue) -> None:
    refused = queue.start("a", gpus=3)
    assert refused["error"] == "missing"
    assert refused["message"] == "the run asks for 3 GPUs, and the box has 2 to give"
    assert queue.half.job("status", "a")["error"] == "not_found"
    queue.driver.set(1, lost=1)
    assert queue.start("b", gpus=2)["message"].endswith(
        "asks for 2 GPUs, and the box has 1 to give"
    )


def test_a_box_without_gpus_refuses_and_says_so(one_box: BoxHalf) -> None:
    refused = one_box.start(command=["true"], queue={"gpus": 1})
    assert refused["message"] == "the run asks for 1 GPU, and the box has none to give"


def test_only_the_gpus_that_the_box_shows_its_runs_are_given(queue: Queue) -> None:
    env = {"CUDA_VISIBLE_DEVICES": "1"}
    assert queue.start("a", env=env)["gpus"] == ["GPU-stub-1"]
    assert queue.start("b", env=env)["queue"]["why"] == "waits for 1 GPU: held by a"
    assert queue.start("c", gpus=2, env=env)["message"].endswith("the box has 1 to give")


def test_a_job_that_needs_gpu_memory_is_held_to_the_gpus_it_was_given(queue: Queue) -> None:
    queue.start("a", vram=30 * GB, command=["true"])
    message = queue.over("a")["message"]
    assert message == "the job needs 30 GB of GPU memory, and this box has 24 GB"
    queue.start("b", gpus=2, vram=30 * GB, command=["true"])
    assert queue.over("b")["state"] == "succeeded"


def test_max_runs_holds_without_any_gpu(queue: Queue) -> None:
    queue.start("a", gpus=0, max_runs=1)
    assert queue.start("b", gpus=0, max_runs=1)["state"] == "queued"
    assert queue.why("b") == "waits for a place (max_runs = 1): a run"
    assert queue.start("c", gpus=0, max_runs=2)["state"] == "queued", "b is before it"
    queue.end("a")
    until(lambda: queue.state("b") == "running")
    until(lambda: queue.state("c") == "running")


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
    assert _entries(queue, "b") == []
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
    assert _read(queue.half.workdir / "order").split() == wanted


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


SMI = """#!/bin/sh
case "$*" in
*compute-apps*) exit 0 ;;
*) while :; do echo "ROW"; sleep 1; done ;;
esac
"""


def test_gpus_are_found_and_given_where_only_nvidia_smi_tells_of_them(
    one_box: BoxHalf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"index": "0", "uuid": "GPU-smi", "memory.used": "10", "memory.total": "24000"}
    row = ", ".join(known.get(field, "[N/A]") for field in FIELDS)
    program = tmp_path / "nvidia-smi"
    program.write_text(SMI.replace("ROW", row))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    first = one_box.start("a", command=["sleep", "300"], queue={"gpus": 1})
    assert (first["state"], first["gpus"]) == ("running", ["GPU-smi"])
    assert one_box.start("b", command=["true"], queue={"gpus": 1})["state"] == "queued"
    one_box.job("cancel", "a")
    until(lambda: one_box.file("b")["ended"])
    assert one_box.file("b")["gpus"] == ["GPU-smi"]


def test_only_one_service_of_a_name_waits(queue: Queue) -> None:
    queue.start("a", gpus=2)
    served = {"service": {"health": ""}, "queue": {"gpus": 1}, "command": ["sleep", "300"]}
    assert queue.half.start("s1", **served)["state"] == "queued"
    assert queue.half.start("s2", **served)["message"] == "service test runs already as s1"
    refused = queue.start("b", gpus=0, after=["s1"])
    assert refused["message"].startswith("s1 is a service, which does not end by itself")

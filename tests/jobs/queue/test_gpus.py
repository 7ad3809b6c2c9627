"""Runs that wait for GPUs: real supervisors over a stub driver."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from devbox.box.probes.gpu.csv import FIELDS
from devbox.box.runs import folder
from tests.jobs.conftest import REPOSITORY, BoxHalf, until
from tests.jobs.queue.conftest import GB, Queue, entries, read


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
    pid = int(until(lambda: read(queue.half.workdir / "stray")))
    check = "grep -q sleep /proc/$(cat stray)/cmdline 2>/dev/null && exit 9; exit 0"
    queue.start("b", gpus=1, command=["sh", "-c", check])
    assert queue.state("b") == "queued"
    queue.kill("a")
    assert queue.over("b")["state"] == "succeeded"
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    assert queue.half.file("a")["reason"] == "interrupted", "told without anybody who asked"


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
        for path in (queue.half.root / "runs" / name / "status.json", *entries(queue, name)):
            found = json.loads(path.read_text())
            found["supervisor"].update(boot="another", pid=os.getpid())
            path.write_text(json.dumps(found))
    assert queue.start("c", gpus=2)["state"] == "running"
    assert queue.half.status("a")["message"].startswith("interrupted: the box was restarted")
    message = "interrupted: the box was restarted; it had not begun"
    assert queue.half.status("b")["message"] == message
    assert entries(queue, "a") == entries(queue, "b") == []


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

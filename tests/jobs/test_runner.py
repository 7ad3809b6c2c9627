"""Runs on a box, driven through `devbox-box job`: they end honestly, whatever happens to whom."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from devbox.box.runs import process_group, worker
from tests.jobs.conftest import REPOSITORY, BoxHalf

ITEMS = """
import os, time
def run(job):
    for name in job.items(["a", "bad", "c", "d"]):
        with job.item(name):
            if name == "bad" and not os.path.exists("repaired"):
                raise ValueError("cannot read \\u2603")
            job.write(f"sub/{name}.txt", f"{name} in attempt {job.attempt}")
"""


def test_a_command_runs_in_the_workdir_and_says_how_it_ended(box: BoxHalf) -> None:
    code = (
        "import os,json;print('hello');open(os.environ['DEVBOX_OUT']+'/x','w').write(os.getcwd());"
        "f=open(os.environ['DEVBOX_EVENTS'],'a');f.write(json.dumps({'progress':[3,4]})+chr(10))"
    )
    started = box.start(command=[box.python, "-c", code])
    assert started["state"] in ("running", "succeeded")
    status = box.end()
    assert (status["state"], status["exit_code"], status["reason"]) == ("succeeded", 0, "")
    assert status["progress"] == [3, 4]
    assert status["attempts"][0]["ended"] == status["ended"]
    assert box.out("x").read_text() == str(box.workdir)
    assert box.log() == "hello\n"


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        (["sh", "-c", "exit 7"], 7, "ended with exit code 7"),
        (["sh", "-c", "kill -SEGV $$"], 139, "killed by SIGSEGV"),
        (["no-such-program"], 127, "no-such-program: command not found on the box"),
        (["/etc/passwd"], 126, "/etc/passwd: Permission denied"),
    ],
)
def test_a_failed_command_says_why(
    one_box: BoxHalf, command: list[str], code: int, message: str
) -> None:
    one_box.start(command=command)
    status = one_box.end()
    assert (status["state"], status["exit_code"]) == ("failed", code)
    assert status["message"] == message


def test_one_bad_item_fails_itself_and_a_retry_does_only_that(box: BoxHalf) -> None:
    module = box.module(ITEMS)
    box.start(module=module)
    status = box.end()
    assert (status["state"], status["reason"]) == ("failed", "items")
    assert status["message"] == "1 of 4 items failed"
    assert status["counts"] == {"total": 4, "done": 3, "failed": 1, "skipped": 0}
    assert status["failures"] == [{"item": "bad", "error": "ValueError: cannot read \u2603"}]
    (box.workdir / "repaired").touch()
    box.start(module=module, attempt=2)
    status = box.end()
    assert (status["state"], status["exit_code"]) == ("succeeded", 0)
    assert status["counts"] == {"total": 4, "done": 4, "failed": 0, "skipped": 0}
    assert box.out("sub/a.txt").read_text() == "a in attempt 1"
    assert box.out("sub/bad.txt").read_text() == "bad in attempt 2"
    assert len(status["attempts"]) == 2


def test_an_item_that_kills_the_worker_costs_only_itself(box: BoxHalf) -> None:
    module = box.module(
        "import os\n"
        "def run(job):\n"
        "    for name in job.items('abcd'):\n"
        "        with job.item(name):\n"
        "            if name in 'bc': os.kill(os.getpid(), 11)\n"
        "            job.write(name, name)\n"
    )
    box.start(module=module)
    status = box.end()
    assert status["message"] == "2 of 4 items failed"
    assert status["counts"] == {"total": 4, "done": 2, "failed": 2, "skipped": 0}
    assert status["failures"][0]["error"] == "crashed the worker (SIGSEGV)"
    assert sorted(os.listdir(box.out(""))) == ["a", "d"]


def test_a_job_that_raises_or_leaves_items_out_has_failed(one_box: BoxHalf) -> None:
    one_box.start("raises", module=one_box.module("def run(job):\n    raise KeyError('weights')"))
    assert one_box.end("raises")["message"] == "KeyError: 'weights'"
    assert "Traceback" in one_box.log("raises")
    early = "def run(job):\n    next(iter(job.items('abc')))\n"
    one_box.start("early", module=one_box.module(early))
    assert one_box.end("early")["message"] == "3 of 3 items were never worked on"


def test_a_job_that_needs_more_gpu_memory_than_there_is_says_so(one_box: BoxHalf) -> None:
    smi = one_box.home / "bin" / "nvidia-smi"
    smi.parent.mkdir()
    smi.write_text(
        "#!/bin/sh\ncase $1 in *query-gpu*)\n"
        "echo '0, GPU-1, NVIDIA L4, 0, 0, 100, 24576, 20, 72, 40, 300, 400, 0x0, 0, Disabled'\n"
        "sleep 60;; esac\n"
    )
    smi.chmod(0o755)
    path = os.environ["PATH"]
    lost = smi.parent.with_name("lost") / "nvidia-smi"
    lost.parent.mkdir()
    unknown = "echo '1, GPU-2, NVIDIA L4, " + ", ".join(["[GPU is lost]"] * 12) + "'\n"
    lost.write_text(smi.read_text().replace("sleep 60", unknown + "sleep 60"))
    lost.chmod(0o755)
    unified = smi.parent.with_name("unified") / "nvidia-smi"
    unified.parent.mkdir()
    unified.write_text(smi.read_text().replace("100, 24576", "[N/A], [N/A]"))
    unified.chmod(0o755)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / (1 << 30)
    assert memory < 4000
    for folder, said in (
        (f"{smi.parent}:", "the job needs 4000 GB of GPU memory, and this box has 24 GB"),
        (f"{lost.parent}:", "the job needs 4000 GB of GPU memory, and this box has 24 GB"),
        (f"{unified.parent}:", "the job needs 4000 GB of GPU memory, and this box has "),
        ("", "the job needs a GPU with 4000 GB of GPU memory, and this box has none"),
    ):
        run_id = Path(folder).name.strip(":") or "without"
        env = {**os.environ, "PATH": folder + path}
        request = {"v": 1, "id": run_id, "job": "t", "command": ["true"], "vram": 4000 << 30}
        one_box.popen("start", env=env).communicate(json.dumps(request).encode(), timeout=120)
        assert one_box.end(run_id)["message"].startswith(said)


def test_a_full_disk_costs_the_log_not_the_run(one_box: BoxHalf) -> None:
    """A limit on file sizes stands in for it: writes fail in the same way."""
    code = "import os,sys\nfor n in range(4000): print('line', n, 'x' * 100)\nsys.exit(5)"
    request = {"v": 1, "id": "r1", "job": "t", "command": [sys.executable, "-c", code]}
    starter = one_box.popen(
        "start",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
    )
    starter.communicate(json.dumps(request).encode(), timeout=120)
    status = one_box.end()
    assert (status["state"], status["exit_code"]) == ("failed", 5)
    assert status["message"] == "ended with exit code 5; the log is not complete: File too large"
    assert status["log_bytes"] == (one_box.root / "runs/r1/log.txt").stat().st_size == 100_000


def test_skipped_items_and_timings_are_counted(one_box: BoxHalf) -> None:
    module = one_box.module(
        "from devbox.box.job import Skip\n"
        "def run(job):\n"
        "    for name in job.items('ab'):\n"
        "        with job.item(name), job.stage('look'):\n"
        "            raise Skip('empty')\n"
    )
    one_box.start(module=module)
    status = one_box.end()
    assert (status["state"], status["counts"]["skipped"]) == ("succeeded", 2)
    assert status["timings"]["look"] >= 0


def test_starting_the_same_attempt_again_changes_nothing(box: BoxHalf) -> None:
    """The reply of a start was lost, and the laptop asks again; also both at once."""
    command = ["sh", "-c", "echo once >> seen; sleep 0.3"]
    together = [box.popen("start") for _ in range(3)]
    body = b'{"v":1,"id":"r1","job":"t","command":["sh","-c","echo once >> seen; sleep 0.3"]}'
    for process in together:
        assert process.stdin
        process.stdin.write(body)
        process.stdin.close()
    for process in together:
        assert process.wait(120) == 0
        assert process.stdout
        process.stdout.close()
    box.start(command=command)
    assert box.end()["state"] == "succeeded"
    assert box.start(command=command)["state"] == "succeeded"
    assert (box.workdir / "seen").read_text() == "once\n"


def test_the_same_id_in_another_box_of_the_host_is_another_run(
    one_box: BoxHalf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of one sweeps away what it left behind, and only that."""
    one_box.start(command=["sh", "-c", "while [ ! -e go ]; do sleep 0.02; done"])
    with monkeypatch.context() as elsewhere:
        other = BoxHalf(one_box.home, one_box.python)
        other.root = one_box.home / "other"
        elsewhere.setenv("DEVBOX_BOX_ROOT", str(other.root))
        other.start(command=["true"])
        assert other.end()["state"] == "succeeded"
    (one_box.workdir / "go").touch()
    assert one_box.end()["state"] == "succeeded"


def test_bad_requests_are_refused_in_words_and_leave_nothing(one_box: BoxHalf) -> None:
    for fields in (
        {"v": 2, "id": "x", "job": "t", "command": ["true"]},
        {"v": 1, "id": "../x", "job": "t", "command": ["true"]},
        {"v": 1, "id": "x", "job": "t"},
        {"v": 1, "id": "x", "job": "t", "command": ["true"], "module": "m"},
        {"v": 1, "id": "x", "job": "t", "command": ["a\0b"]},
        {"v": 1, "id": "x", "job": "t", "command": ["true"], "env": {"A=B": "c"}},
        {"v": 1, "id": "x", "job": "t", "command": ["true"], "packages": ["--index-url=x"]},
        {"v": 1, "id": "x", "job": "t", "command": ["true"], "timeout": "1"},
        ["no"],
    ):
        assert one_box.job("start", input=fields)["error"] == "bad_request"
    missing = one_box.start("x", command=["true"], inputs={"video": "nowhere.mp4"})
    said = "input video is not on the box: nowhere.mp4"
    assert missing == {"v": 1, "error": "missing", "message": said}
    assert one_box.job("status", "x")["error"] == "not_found"
    assert one_box.job("nonsense")["error"] == "bad_request"
    assert one_box.job("list")["runs"] == []


@pytest.mark.parametrize(
    "kept", ["{", '{"v":1,"id":"r1"}', '{"v":1,"id":"r1","job":"t","vram":"x"}']
)
def test_a_kept_request_that_cannot_be_read_is_told(one_box: BoxHalf, kept: str) -> None:
    one_box.start(command=["true"])
    one_box.end()
    folder = one_box.root / "runs" / "r1"
    (folder / "request.json").write_text(kept)
    done = subprocess.run(
        process_group.python_command("runs.worker", "r1"), capture_output=True, check=False
    )
    assert done.returncode == worker.UNPREPARED
    assert b"Traceback" not in done.stderr
    said = json.loads((folder / "reported.jsonl").read_text().splitlines()[-1])["error"]
    assert said in done.stderr.decode()
    assert said.startswith("the request of run r1 could not be read: ")


def test_a_running_run_cannot_be_started_over(one_box: BoxHalf) -> None:
    one_box.start(command=["sleep", "300"])
    answer = one_box.start(command=["sleep", "300"], attempt=2)
    assert answer == {"v": 1, "error": "conflict", "message": "run r1 is still running"}


def test_list_names_every_run(one_box: BoxHalf) -> None:
    for run_id in ("r1", "r2"):
        one_box.start(run_id, command=["true"])
        one_box.end(run_id)
    assert [run["id"] for run in one_box.job("list")["runs"]] == ["r1", "r2"]


def test_a_run_works_from_a_zipapp_that_is_replaced_meanwhile(box: BoxHalf, tmp_path: Path) -> None:
    module = box.module(
        "import os, time\n"
        "def run(job):\n"
        "    while not os.path.exists('go'): time.sleep(0.02)\n"
        "    import devbox.box.packages\n"
        "    job.write('x', devbox.box.packages.__file__)\n"
    )
    archive, link = tmp_path / "one.pyz", tmp_path / "devbox-box.pyz"
    for room in ("box", "wire"):
        shutil.copytree(REPOSITORY / "devbox" / room, tmp_path / "app/devbox" / room)
    (tmp_path / "app/devbox/__init__.py").write_text("")
    subprocess.run(
        [
            box.python,
            "-m",
            "zipapp",
            str(tmp_path / "app"),
            "-m",
            "devbox.box.__main__:main",
            "-o",
            str(archive),
        ],
        check=True,
    )
    link.symlink_to(archive)
    subprocess.run(
        [box.python, str(link), "job", "start"],
        input=b'{"v":1,"id":"r1","job":"t","module":"%s"}' % module.encode(),
        check=True,
        stdout=subprocess.DEVNULL,
    )
    link.unlink()
    link.write_text("something else")
    (box.workdir / "go").touch()
    assert box.end()["state"] == "succeeded"
    assert str(archive) in box.out("x").read_text()

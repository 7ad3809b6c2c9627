"""How runs end: killed supervisors, reboots, cancels, timeouts, and what they leave behind."""

from __future__ import annotations

import json
import os
import signal
import sys

import psutil
import pytest

from devbox.box.runs import folder
from tests.jobs.conftest import BoxHalf, until

ITEMS = """
import os, time
def run(job):
    for name in job.items(["a", "bad", "c", "d"]):
        with job.item(name):
            if name == "bad" and not os.path.exists("repaired"):
                raise ValueError("cannot read \\u2603")
            job.write(f"sub/{name}.txt", f"{name} in attempt {job.attempt}")
"""


def run_files_active(box: BoxHalf) -> list[str]:
    assert os.environ["DEVBOX_BOX_ROOT"] == str(box.root)
    return folder.active()


def test_a_run_outlives_the_session_that_started_it(box: BoxHalf) -> None:
    """The client and its whole process group are killed right after the start."""
    starter = box.popen("start", start_new_session=True)
    assert starter.stdin
    assert starter.stdout
    starter.stdin.write(
        b'{"v":1,"id":"r1","job":"t",'
        b'"command":["sh","-c","while [ ! -e go ]; do sleep 0.05; done"]}'
    )
    starter.stdin.close()
    assert starter.stdout.readline()
    starter.wait(10)
    with pytest.raises(ProcessLookupError):
        os.killpg(starter.pid, signal.SIGKILL)  # nothing of the run is in the session's group
    assert box.status()["state"] == "running"
    (box.workdir / "go").touch()
    assert box.end()["state"] == "succeeded"


def test_a_killed_supervisor_leaves_no_run_running_for_ever(box: BoxHalf) -> None:
    code = (
        "import os,time\nos.system('setsid sleep 300 &')\nprint('up', flush=True)\ntime.sleep(300)"
    )
    box.start(command=[box.python, "-c", code])
    until(lambda: box.log() == "up\n")
    until(lambda: len(box.processes("r1")) >= 2)
    assert run_files_active(box) == ["r1"]
    os.kill(box.file()["supervisor"]["pid"], signal.SIGKILL)
    until(lambda: run_files_active(box) == [])
    status = box.status()
    assert (status["state"], status["reason"]) == ("failed", "interrupted")
    assert status["message"] == "interrupted: its supervisor was killed; what is done is kept"
    assert status["ended"] is not None
    until(lambda: not box.processes("r1"))


def test_a_run_that_was_interrupted_resumes_with_what_is_missing(box: BoxHalf) -> None:
    module = box.module(
        "import os, time\n"
        "def run(job):\n"
        "    for name in job.items('abc'):\n"
        "        with job.item(name):\n"
        "            while name == 'b' and not os.path.exists('go'): time.sleep(0.02)\n"
        "            job.write(name, str(job.attempt))\n"
    )
    box.start(module=module)
    until(lambda: box.out("a").exists())
    os.kill(box.file()["supervisor"]["pid"], signal.SIGKILL)
    assert until(lambda: box.status()["state"] == "failed")
    (box.workdir / "go").touch()
    box.start(module=module, attempt=2)
    assert box.end()["state"] == "succeeded"
    assert [box.out(name).read_text() for name in "abc"] == ["1", "2", "2"]


def test_after_a_reboot_a_run_reads_as_interrupted(one_box: BoxHalf) -> None:
    one_box.start(command=["sleep", "300"])
    one_box.clear()
    path = one_box.root / "runs" / "r1" / "status.json"
    status = one_box.file()
    status["supervisor"]["boot"] = "another"
    path.write_text(json.dumps(status))
    assert one_box.status()["message"].startswith("interrupted: the box was restarted")


def test_a_pid_that_is_used_again_is_not_taken_for_the_supervisor(one_box: BoxHalf) -> None:
    one_box.start(command=["sleep", "300"])
    one_box.clear()
    status = one_box.file()
    status["supervisor"]["pid"] = os.getpid()
    (one_box.root / "runs" / "r1" / "status.json").write_text(json.dumps(status))
    assert one_box.status()["state"] == "failed"


def test_cancel_ends_all_descendants_also_those_in_a_session_of_their_own(box: BoxHalf) -> None:
    script = (
        "setsid sleep 300 & setsid sh -c 'trap \"\" TERM; sleep 300 & wait; sleep 300' & "
        "env -i setsid sleep 300 & (setsid nohup sleep 300 &) ; echo up; sleep 300"
    )
    box.start(command=["sh", "-c", script], grace=0.5)
    until(lambda: box.log() == "up\n")
    supervisor = psutil.Process(box.file()["supervisor"]["pid"])
    everything = until(lambda: [p for p in [supervisor.children(recursive=True)] if len(p) >= 6])
    status = box.job("cancel", "r1")
    assert (status["state"], status["reason"]) == ("cancelled", "cancelled")
    _, alive = psutil.wait_procs(everything[0], timeout=60)
    assert [p for p in alive if p.status() != psutil.STATUS_ZOMBIE] == []
    assert box.job("cancel", "r1")["state"] == "cancelled"


def test_a_cancelled_program_gets_its_grace_to_save(one_box: BoxHalf) -> None:
    """Even when the shell above it ends at once."""
    save = (
        "import signal,sys,time\n"
        "def stop(*_):\n    time.sleep(0.5); open('saved', 'w').close(); sys.exit()\n"
        "signal.signal(signal.SIGTERM, stop)\nprint('up', flush=True)\ntime.sleep(300)"
    )
    (one_box.workdir / "save.py").write_text(save)
    one_box.start(command=["sh", "-c", f"{sys.executable} save.py & wait"])
    until(lambda: one_box.log() == "up\n")
    one_box.job("cancel", "r1")
    assert (one_box.workdir / "saved").exists()


# Saves with a helper that is born after the signal, as torch's savers and shell traps do.
HELPER_SAVES = (
    'save() { python3 -c "import time, os; time.sleep(1); '
    "open(os.environ['DEVBOX_OUT'] + '/ckpt', 'w').write('x')\"; }; "
    "trap 'save; exit 0' TERM; echo up; sleep 5000 & wait"
)


def test_a_helper_born_after_the_signal_saves_on_cancel(one_box: BoxHalf) -> None:
    one_box.start(command=["sh", "-c", HELPER_SAVES])
    until(lambda: one_box.log() == "up\n")
    one_box.job("cancel", "r1")
    assert one_box.out("ckpt").read_text() == "x"


def test_a_helper_born_after_the_signal_saves_on_timeout(one_box: BoxHalf) -> None:
    one_box.start(command=["sh", "-c", HELPER_SAVES], timeout=6)
    assert one_box.end()["reason"] == "timeout"
    assert one_box.out("ckpt").read_text() == "x"


def test_a_helper_born_after_the_signal_saves_when_the_box_goes_down(one_box: BoxHalf) -> None:
    """Every process gets SIGTERM then, the supervisor too."""
    one_box.start(command=["sh", "-c", HELPER_SAVES])
    until(lambda: one_box.log() == "up\n")
    for process in one_box.processes():
        process.terminate()
    assert one_box.end()["reason"] == "interrupted"
    assert one_box.out("ckpt").read_text() == "x"


def test_a_cancelled_job_stops_between_items_and_keeps_whole_outputs(box: BoxHalf) -> None:
    module = box.module(
        "import time\n"
        "def run(job):\n"
        "    for name in job.items(str(i) for i in range(1000)):\n"
        "        with job.item(name), job.output(name) as part:\n"
        "            part.write_text('half'); time.sleep(0.05); part.write_text('whole')\n"
    )
    box.start(module=module)
    until(lambda: box.out("1").exists())
    status = box.job("cancel", "r1")
    assert status["state"] == "cancelled"
    assert 2 <= status["counts"]["done"] < 1000
    assert {path.read_text() for path in box.out("").iterdir()} == {"whole"}


def test_the_timeout_is_kept(one_box: BoxHalf) -> None:
    one_box.start(
        command=["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"], timeout=0.3, grace=0.3
    )
    status = one_box.end()
    assert (status["state"], status["reason"], status["exit_code"]) == ("failed", "timeout", 124)
    assert status["message"] == "ended after its timeout of 0.3 s; what is done is kept"
    assert not one_box.processes("r1")


def test_what_a_finished_run_leaves_behind_is_ended(one_box: BoxHalf) -> None:
    one_box.start(command=["sh", "-c", "setsid sleep 300 & echo done"])
    assert one_box.end()["state"] == "succeeded"
    until(lambda: not one_box.processes())

"""The real thing: the zipapp armed as ssh would, its agent a process of its own, seconds for
hours. Under the oldest Python of this machine; what shows the most of it under this one as well."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from devbox.remote import agent_bootstrap
from tests.jobs.conftest import PYTHONS, oldest_python, until
from tests.processes import alive, arguments, send

pytestmark = pytest.mark.real_time

# The machine under the tests may be as busy as it likes.
QUIET: dict[str, Any] = {"cpu_util": 1000, "net_bytes": 1e15, "gpu_util": 1000}
SHORT: dict[str, Any] = {**QUIET, "after": 3, "warn": 1.5}


class Armed:
    """A box that is a folder. `python` runs its box half."""

    def __init__(self, home: Path, python: str) -> None:
        self.home, self.python, self.root = home, python, home / ".devbox-box"
        self.program = home / "devbox-box-one.pyz"
        shutil.copy(agent_bootstrap.build(), self.program)
        self.gone = home / "pause asked; for"
        self.root.mkdir(exist_ok=True)
        (self.home / "work").mkdir()
        counted = {"sessions": 0, "rx_bytes": 0, "tx_bytes": 0}
        (self.root / "ssh.json").write_text(json.dumps(counted))

    def call(self, *words: str, input: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [self.python, str(self.program), *words],
            input=input,
            capture_output=True,
            timeout=60,
            cwd=self.home,
            check=False,
            # no terminal of this machine is the box's
            env={**os.environ, "DEVBOX_LOCAL_BOX": str(self.home)},
        )

    def arm(self, policy: dict[str, Any], **more: Any) -> dict[str, Any]:
        now = time.time()
        orders = {"v": 1, "box": "gpu1", "token": "t", "policy": policy, "deadline": None}
        recipe = {"kind": "exec", "argv": ["touch", str(self.gone)]}
        orders |= {"started": now, "sent": now, "pause": recipe, "workdir": "work", **more}
        done = self.call("arm", "agent", input=json.dumps(orders).encode())
        assert done.returncode == 0, done.stderr.decode()
        answer = json.loads(done.stdout)
        assert isinstance(answer, dict)
        return answer

    def verdict(self) -> dict[str, Any]:
        done = self.call("verdict")
        assert done.returncode == 0, done.stderr.decode()
        answer = json.loads(done.stdout)
        assert isinstance(answer, dict)
        return answer

    def events(self) -> list[str]:
        lines = (self.root / "events.jsonl").read_text().splitlines()
        return [json.loads(line)["kind"] for line in lines]

    def agents(self) -> list[psutil.Process]:
        """Of this box: the words of its agent, at the end of a line that names its folder."""
        return [
            process
            for process in psutil.process_iter()
            if (line := arguments(process))[-1:] == ["agent"] and str(self.home) in " ".join(line)
        ]


both = pytest.mark.parametrize("python", [sys.executable, oldest_python()], ids=PYTHONS)


@pytest.fixture
def python() -> str:
    return oldest_python()


@pytest.fixture
def box(home: Path, python: str) -> Iterator[Armed]:
    armed = Armed(home, python)
    yield armed
    for agent in armed.agents():
        end(agent)


def end(agent: psutil.Process) -> None:
    """Ask it to end and wait until it has, though nobody has reaped it."""
    send(agent, signal.SIGTERM)
    until(lambda: not alive(agent))


@both
def test_an_idle_box_saves_and_pauses_itself(box: Armed) -> None:
    (box.home / "work" / "result.txt").write_text("only here")
    saving = {"save_command": ["sh", "-c", "pwd > saved; echo done"]}
    assert box.arm({**SHORT, **saving})["restarted"] is True
    assert box.verdict()["state"] in ("active", "idle", "warned")
    until(box.gone.exists, 60)
    until(lambda: "paused" in box.events())
    assert box.events() == ["armed", "warning", "saving", "saved", "pausing", "paused"]
    assert (box.home / "work" / "saved").read_text().strip() == str(box.home / "work")
    verdict = box.verdict()
    assert verdict["state"] == "pausing"
    assert verdict["warned"] is True
    last = (box.root / "events.jsonl").read_text().splitlines()[-1]
    assert "paused with 2 unsynced files" in last


def test_a_volume_that_hangs_does_not_hold_the_arming(box: Armed) -> None:
    saved = box.home / "data" / "devbox-saved" / "gpu1"
    saved.mkdir(parents=True)
    os.mkfifo(saved / "latest.json")  # opening it waits for a writer that never comes
    more = {"disk_kept": False, "volumes": [str(box.home / "data")]}
    assert box.arm(SHORT, **more)["restarted"] is True
    until(box.gone.exists, 60)


def test_keep_holds_it_off_and_says_when_the_ceiling_caps_it(box: Armed) -> None:
    now = time.time()
    box.arm({**QUIET, "after": 300}, deadline=now + 3600)
    granted = json.loads(box.call("keep", "--until", str(now + 600), "--now", str(now)).stdout)
    assert granted == {"v": 1, "until": pytest.approx(now + 600), "capped": False}
    until(lambda: box.verdict()["keep_until"])
    asked = ("keep", "--until", str(now + 9000), "--now", str(now))
    capped = json.loads(box.call(*asked).stdout)
    assert capped["capped"] is True
    assert capped["until"] == pytest.approx(now + 3600, abs=30)
    shorter = json.loads(box.call("keep", "--until", str(now + 60), "--now", str(now)).stdout)
    assert shorter["until"] == pytest.approx(now + 3600, abs=30)
    box.call("keep", "--until", str(now), "--now", str(now))
    until(lambda: box.verdict()["keep_until"] is None)


def test_the_ceiling_ends_a_box_that_is_kept_and_busy(box: Armed) -> None:
    run = box.root / "runs" / "r1"
    run.mkdir(parents=True)
    (run / "status.json").write_text(json.dumps({"state": "running"}))
    now = time.time()
    box.arm({**QUIET, "after": 300}, deadline=now + 3)
    box.call("keep", "--until", str(now + 9000), "--now", str(now))
    until(box.gone.exists, 60)
    assert "called-off" not in box.events()


@both
def test_one_agent_runs_however_often_it_is_armed(box: Armed) -> None:
    first = box.arm({**QUIET, "after": 600})
    second = box.arm({**QUIET, "after": 900})
    assert second == {"armed": True, "pid": first["pid"], "restarted": False}
    assert [agent.pid for agent in box.agents()] == [first["pid"]]
    done = box.call("agent")
    assert done.returncode == 3
    assert b"another agent" in done.stderr


def test_an_agent_of_other_code_is_replaced(box: Armed) -> None:
    first = box.arm({**QUIET, "after": 600})
    box.program = Path(shutil.copy(box.program, box.home / "devbox-box-two.pyz"))
    second = box.arm({**QUIET, "after": 600})
    assert second["restarted"] is True
    assert second["pid"] != first["pid"]
    assert [agent.pid for agent in box.agents()] == [second["pid"]]


def test_an_agent_that_is_ending_holds_up_its_successor_and_no_more(box: Armed) -> None:
    """Its lock goes with its last thread, a little after it counts as ended."""
    with open(box.root / "agent.lock", "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        release = threading.Timer(0.3, fcntl.flock, (lock, fcntl.LOCK_UN))
        release.start()
        pid = box.arm({**QUIET, "after": 600})["pid"]
        release.join()
    assert [agent.pid for agent in box.agents()] == [pid]


def test_a_killed_agent_is_noticed_and_armed_again(box: Armed) -> None:
    first = box.arm({**QUIET, "after": 600})
    psutil.Process(first["pid"]).kill()
    until(lambda: box.call("verdict").returncode == 3)
    assert b"no watchdog runs" in box.call("verdict").stderr
    second = box.arm({**QUIET, "after": 600})
    assert second["restarted"] is True
    assert box.verdict()["state"] == "active"


def test_an_agent_whose_folder_was_made_anew_gives_way(box: Armed) -> None:
    first = box.arm({**QUIET, "after": 600})["pid"]
    box.root.rename(box.home / "moved")
    second = box.arm({**QUIET, "after": 600})["pid"]
    until(lambda: [agent.pid for agent in box.agents()] == [second])
    assert first != second


def test_an_agent_whose_folder_is_gone_ends_itself(box: Armed) -> None:
    """On a machine that stays up, nothing else would end it."""
    pid = box.arm({**QUIET, "after": 600})["pid"]
    box.root.rename(box.home / "deleted")
    until(lambda: not [agent for agent in box.agents() if agent.pid == pid])


@both
def test_the_agent_holds_nothing_of_the_login_that_started_it(box: Armed) -> None:
    pid = box.arm({**QUIET, "after": 600})["pid"]
    agent = psutil.Process(pid)
    assert os.getsid(pid) == pid
    assert {os.readlink(f"/proc/{pid}/fd/{n}") for n in (1, 2)} == {str(box.root / "agent.log")}
    assert os.readlink(f"/proc/{pid}/fd/0") == os.devnull
    end(agent)


def test_orders_that_make_no_sense_change_nothing(home: Path) -> None:
    box = Armed(home, sys.executable)
    done = box.call("arm", "agent", input=b"not json")
    assert done.returncode == 2
    assert b"cannot be followed" in done.stderr
    assert b"Traceback" not in done.stderr
    assert not (box.root / "config.json").exists()
    assert not box.agents()

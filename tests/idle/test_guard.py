"""A box that nobody comes back to guards itself: the script beside its sshd, run as it is there."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from devbox.box import event_log, json_file
from devbox.providers import guarded
from devbox.remote import agent_bootstrap
from devbox.spec import BoxSpec, Idle, Seconds
from devbox.wire.messages import Identity, PauseRecipe
from tests.boxes import request_for
from tests.idle.test_end_to_end import end
from tests.jobs.conftest import until
from tests.processes import alive, arguments

QUIET: dict[str, Any] = {"cpu_util": 1000.0, "gpu_util": 1000.0}


class Guarded:
    """A box that is a folder, with the guard of its main process and nobody logged in."""

    def __init__(self, home: Path) -> None:
        self.home, self.root = home, home / ".devbox-box"
        self.ended, self.mark = home / "ended", home / "armed"
        self.process: subprocess.Popen[bytes] | None = None
        tools = home / "tools"
        tools.mkdir()
        # The guard sleeps for five seconds between two looks; here less, and while it is held.
        self.held, sleep = home / "held", shutil.which("sleep")
        (tools / "sleep").write_text(
            f"#!/bin/sh\nwhile {sleep} 0.1; [ -e {self.held} ]; do :; done\n"
        )
        (tools / "sleep").chmod(0o700)
        self.tools, self.path = tools, f"{tools}:{os.environ['PATH']}"

    def start(self, *, half: bool = True, least: float = 900.0, **idle: Any) -> None:
        wanted = BoxSpec(idle=Idle(**{**QUIET, **idle}), max_uptime=Seconds(3600))
        request = request_for("b", wanted)
        recipe = PauseRecipe("exec", ("touch", str(self.ended)), armed=str(self.mark))
        program = str(shutil.copy(agent_bootstrap.build(), self.home))
        (self.home / "orders.json").write_bytes(guarded.first_orders(request, recipe))
        self.root.mkdir(exist_ok=True)
        # no ssh of this machine is the box's
        counted = {"sessions": 0, "rx_bytes": 0, "tx_bytes": 0}
        (self.root / "ssh.json").write_text(json.dumps(counted))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(guarded, "LEAST", least)
            orders = str(self.home / "orders.json") if half else ""
            line = guarded.command(request, recipe, orders=orders, half=program if half else "")
        env = {**os.environ, "PATH": self.path, "DEVBOX_LOCAL_BOX": str(self.home)}
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", line], env=env, stderr=subprocess.PIPE, start_new_session=True
        )

    def arm(self, **more: Any) -> None:
        """As over ssh."""
        if not (self.root / "devbox-box.pyz").exists():
            shutil.copy(agent_bootstrap.build(), self.root)
            (self.root / "devbox-box.pyz").symlink_to(agent_bootstrap.build().name)
        now = time.time()
        recipe = {"kind": "exec", "argv": ["touch", str(self.ended)], "armed": str(self.mark)}
        orders = {"v": 1, "box": "b", "token": "t", "policy": {**QUIET, "after": 600.0}}
        orders |= {"deadline": None, "started": now, "sent": now, "pause": recipe, "workdir": "w"}
        subprocess.run(
            [sys.executable, str(self.root / "devbox-box.pyz"), "arm", "agent"],
            input=json.dumps({**orders, **more}).encode(),
            check=True,
            capture_output=True,
            cwd=self.home,
            env={**os.environ, "DEVBOX_LOCAL_BOX": str(self.home)},
        )

    def agents(self) -> list[psutil.Process]:
        return [
            process
            for process in psutil.process_iter()
            if arguments(process)[-1:] == ["agent"] and self._is_its(process)
        ]

    def _is_its(self, process: psutil.Process) -> bool:
        try:
            return bool(process.environ().get("HOME") == str(self.home))
        except psutil.Error:  # it has ended
            return False

    def agent(self, not_pid: int = 0) -> psutil.Process:
        """The one agent, once it says so: a second that finds another ends at once."""

        def alone() -> list[psutil.Process]:
            found, named = self.agents(), json_file.load(self.root / "agent.json", Identity)
            is_it = named and named.pid != not_pid and [a.pid for a in found] == [named.pid]
            return found if is_it else []

        found: list[psutil.Process] = until(alone, 60)
        return found[0]

    def orders(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.root / "config.json").read_text())
        return found

    def kinds(self) -> list[str]:
        return [event.kind for event in event_log.read(self.root)]

    def close(self) -> None:
        if self.process and self.process.returncode is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.communicate()
        for agent in self.agents():
            end(agent)


@pytest.fixture
def box(home: Path) -> Iterator[Guarded]:
    made = Guarded(home)
    yield made
    made.close()


def test_a_box_that_nobody_comes_back_to_pauses_itself(box: Guarded) -> None:
    box.start(after=Seconds(3), warn=Seconds(1))
    until(box.ended.exists, 60)
    until(lambda: {"armed", "warning", "saved", "paused"} <= set(box.kinds()))
    orders = box.orders()
    assert orders["deadline"] == orders["started"] + 3600


def test_without_python_an_unarmed_box_ends_itself_and_says_so(box: Guarded) -> None:
    for name in ("sh", "date", "cat", "rm", "touch", "tr"):
        (box.tools / name).symlink_to(shutil.which(name) or name)
    box.path = str(box.tools)
    box.start(after=Seconds(1), least=1.0)
    until(box.ended.exists, 30)
    assert not (box.root / "config.json").exists()
    assert box.process
    os.killpg(box.process.pid, signal.SIGTERM)
    assert b"not armed yet; this box ends itself in 1 s" in box.process.communicate()[1]


def test_a_box_without_the_box_half_ends_itself_unless_it_is_armed(box: Guarded) -> None:
    box.held.touch()
    ends = time.monotonic() + 4
    box.start(half=False, after=Seconds(3), least=3.0)
    box.arm()
    until(lambda: time.monotonic() > ends)
    box.held.unlink()
    first = box.agent()
    first.kill()
    box.agent(first.pid)
    assert not box.ended.exists()


def test_without_an_idle_pause_an_unarmed_box_is_not_ended(box: Guarded) -> None:
    assert guarded.unarmed(BoxSpec(idle=Idle(enabled=False))) == 0
    assert guarded.unarmed(BoxSpec(idle=Idle(after=Seconds(3600)))) == 3600


def test_an_agent_that_was_killed_is_started_again_by_its_box(box: Guarded) -> None:
    box.start(after=Seconds(600))
    first = box.agent()
    until((box.root / "ladder.json").exists)
    first.kill()
    box.agent(first.pid)
    until(lambda: "restarted" in box.kinds())


def test_orders_that_came_over_ssh_stay_in_force(box: Guarded) -> None:
    box.start(after=Seconds(600))
    box.agent()
    box.arm(policy={**QUIET, "after": 1234.0})
    agent = box.agent()
    agent.kill()
    box.agent(agent.pid)
    assert box.orders()["policy"]["after"] == 1234.0


def test_an_agent_whose_folder_is_gone_ends_and_its_box_makes_it_again(box: Guarded) -> None:
    box.start(after=Seconds(600))
    first = box.agent()
    until((box.root / "verdict.json").exists)
    box.root.rename(box.home / "deleted")
    until(lambda: not alive(first), 30)
    box.agent(first.pid)
    assert box.orders()["policy"]["after"] == 600.0

"""kill -9 of devbox at every step of every call, and many devbox processes at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from devbox import paths
from devbox.model import BoxState
from devbox.providers.base import Request
from devbox.providers.local import processes
from devbox.providers.local.box_dir import BoxDir
from devbox.providers.local.provider import Local
from devbox.spec import BoxSpec, LocalSettings
from tests.boxes import request_for, wait_for_state
from tests.processes import arguments, send
from tests.remote.sshd import wait_until

# Raised by the interpreter just before it acts; dying there is dying between two actions.
STEPS = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "subprocess.Popen", "os.kill"}


@pytest.fixture
def local(home: Path) -> Iterator[Local]:
    local = Local(LocalSettings())
    yield local
    for seen in local.find():
        local.terminate(seen.handle)


@pytest.fixture
def request_(home: Path) -> Request:
    return request_for("b", BoxSpec(workdir="work"), token="tok")


def test_create_cut_off_anywhere(local: Local, request_: Request) -> None:
    for step in cut_off_at_each_step(lambda: local.create(request_)):
        assert_answers(local)
        if step % 3:  # what reconcile may do: continue, or give up
            local.create(request_)
            assert_runs(local)
        local.terminate("tok")
        assert_nothing_left(local)


def test_pause_cut_off_anywhere(local: Local, request_: Request) -> None:
    local.create(request_)
    wait_for_state(local, "tok", BoxState.RUNNING)
    for step in cut_off_at_each_step(lambda: local.pause("tok")):
        assert_answers(local)
        if step % 2:
            local.pause("tok")
            seen = wait_for_state(local, "tok", BoxState.PAUSED)
            assert not seen.billed
            assert processes.of_box(folder()) == []
        local.resume(request_, "tok")
        assert_runs(local)


def test_resume_cut_off_anywhere(local: Local, request_: Request) -> None:
    local.create(request_)
    (folder().home / "note").write_text("kept")
    local.pause("tok")
    for step in cut_off_at_each_step(lambda: local.resume(request_, "tok")):
        assert_answers(local)
        if step % 2:
            local.resume(request_, "tok")
            assert_runs(local)
            assert (folder().home / "note").read_text() == "kept"
        local.pause("tok")
        assert processes.of_box(folder()) == []


def test_terminate_cut_off_anywhere(local: Local, request_: Request) -> None:
    local.create(request_)
    for _ in cut_off_at_each_step(lambda: local.terminate("tok")):
        assert_answers(local)
        local.terminate("tok")
        assert_nothing_left(local)
        local.create(request_)
        assert_runs(local)


def test_a_server_cut_off_before_it_listens_is_started_anew(
    local: Local, request_: Request
) -> None:
    local.create(request_)
    for _ in range(5):
        while folder().alive():  # again: one that is just being born is not listed yet
            for process in processes.of_box(folder()):
                send(process, signal.SIGKILL)
            time.sleep(0.005)
        local.observe("tok")
        local.resume(request_, "tok")
        wait_for_state(local, "tok", BoxState.RUNNING)


PROGRAM = """
import json, os, sys
from devbox.providers.base import Request
from devbox.providers.local.provider import Local
from devbox.spec import BoxSpec, LocalSettings
request = Request(spec=BoxSpec(workdir="work"), **json.load(sys.stdin))
local = Local(LocalSettings())
for verb in sys.argv[1:]:
    if verb == "create":
        print(local.create(request))
    elif verb == "resume":
        local.resume(request, "tok")
    else:
        getattr(local, verb)("tok")
"""


def test_many_processes_create_one_box(local: Local, request_: Request) -> None:
    outs = [child.communicate(timeout=60)[0] for child in at_once(request_, ["create"] * 6)]
    assert outs == [b"tok\n"] * 6
    assert_runs(local)


def test_many_processes_at_odds_leave_one_truth(local: Local, request_: Request) -> None:
    local.create(request_)
    verbs = ["pause", "resume", "pause", "observe", "resume", "find"]
    for child in at_once(request_, verbs):
        _, error = child.communicate(timeout=60)
        assert child.returncode == 0, error.decode()
    local.resume(request_, "tok")
    assert_runs(local)
    for child in at_once(request_, ["terminate"] * 4):
        child.communicate(timeout=60)
        assert child.returncode == 0
    assert_nothing_left(local)


def folder() -> BoxDir:
    return BoxDir(paths.local_boxes() / "tok")


def assert_answers(local: Local) -> None:
    """Whatever happened, observe and find answer and agree."""
    seen = local.observe("tok")
    listing = local.find()
    assert [each.token for each in listing] == (["tok"] if seen else [])


def assert_runs(local: Local) -> None:
    """It runs, once."""
    wait_for_state(local, "tok", BoxState.RUNNING)
    # A process that is just being started bears its parent's command line for a moment.
    wait_until(lambda: len(servers()) == 2, "the guard and its server")


def servers() -> list[psutil.Process]:
    return [p for p in processes.of_box(folder()) if "-m" in arguments(p)]


def assert_nothing_left(local: Local) -> None:
    assert local.observe("tok") is None
    assert local.find() == []
    assert [p.name for p in paths.local_boxes().iterdir()] == [".locks"]
    assert processes.of_box(folder()) == []


def cut_off_at_each_step(call: Callable[[], Any]) -> Iterator[int]:
    """Run `call` in a child that is killed at its first step, its second, and so on; yields after
    each death, and ends when a child came through."""
    step = 0
    while True:
        step += 1
        child = os.fork()
        if not child:
            _die_at(step)
            call()
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status in (0, -signal.SIGKILL), f"step {step} ended with {status}"
        yield step
        if status == 0:
            assert step > 3, "no step was seen"
            return


def _die_at(step: int) -> None:
    root = str(paths.local_boxes())
    left = step

    def hook(event: str, args: tuple[Any, ...]) -> None:
        nonlocal left
        if event not in STEPS:
            return
        if event == "open" and not (str(args[0]).startswith(root) and args[2] & os.O_ACCMODE):
            return
        left -= 1
        if left == 0:
            left = -1  # the kill is a step itself
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def at_once(request: Request, verbs: list[str]) -> list[subprocess.Popen[bytes]]:
    fields = {k: v for k, v in request._asdict().items() if k not in ("spec", "asking")}
    children = []
    for verb in verbs:
        child = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, verb],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        children.append(child)
    for child in children:
        assert child.stdin is not None
        child.stdin.write(json.dumps(fields).encode())
        child.stdin.close()
        child.stdin = None
    return children

"""Lost replies, cut connections and boxes that are away: runs are told honestly all the same."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from contextlib import suppress
from typing import Any

import msgspec
import psutil
import pytest

from devbox.errors import Conflict, NoAnswer
from devbox.jobs import queries, status
from devbox.jobs.follow import Ended, Note, follow, followed
from devbox.jobs.submit import retry
from devbox.model import Box, BoxState, Run, RunState
from devbox.remote import agent, connection
from devbox.remote.agent_bootstrap import Runs
from devbox.workspace import Workspace
from tests.boxes import rewrite
from tests.jobs.conftest import until
from tests.jobs.test_control import command, texts

PYTHON = "python3"


def kill_server(box: Box) -> None:
    """The box's ssh server and everything else of the box: it no longer answers."""
    for process in psutil.process_iter():
        try:
            line = process.cmdline()
        except psutil.Error:
            continue  # ended meanwhile
        if "devbox.providers.local.server" in line and any(box.token in word for word in line):
            process.send_signal(signal.SIGKILL)
            process.wait(5)


def test_a_lost_reply_is_asked_for_again_and_starts_one_run(
    local_workspace: Workspace, local_box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = agent.job
    lost: list[Any] = []

    def losing(line: Runs, kind: Any, *words: str, **more: Any) -> Any:
        answer = real(line, kind, *words, **more)
        if words == ("start",) and not lost:
            lost.append(answer)
            raise NoAnswer("the connection was cut")
        return answer

    monkeypatch.setattr(agent, "job", losing)
    local_workspace.sleep = lambda _: None
    run = command(local_workspace, local_box, "sh", "-c", "echo x >> once; cat once")
    assert lost
    assert texts(list(follow(local_workspace, run))) == ["x"]


def test_a_start_whose_reply_never_came_is_found_later(
    local_workspace: Workspace, local_box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = agent.job

    def losing(line: Runs, kind: Any, *words: str, **more: Any) -> None:
        real(line, kind, *words, **more)
        raise NoAnswer("the connection was cut")

    local_workspace.sleep = lambda _: None
    with monkeypatch.context() as patch:
        patch.setattr(agent, "job", losing)
        with pytest.raises(NoAnswer, match="while starting run") as raised:
            command(local_workspace, local_box, "sleep", "300")
    run = local_workspace.store.runs.latest()[0]
    assert run.state == RunState.QUEUED
    assert f"devbox attach {run.id}" in raised.value.fix
    assert queries.refresh(local_workspace, [run])[0].state == RunState.RUNNING


def test_a_run_that_was_never_started_is_told_and_can_be_tried_again(
    local_workspace: Workspace, local_box: Box
) -> None:
    """devbox was killed after the journal, before the box heard of it."""
    run = command(local_workspace, local_box, "echo", "hi")
    followed(local_workspace, run)
    submitter = subprocess.Popen(["true"])
    submitter.wait()
    dead = {"pid": submitter.pid, "started": "0", "boot": "x"}
    journal = msgspec.json.decode(run.request)
    journal["request"]["id"] = "cmd-20000101-000000-aaaa"
    orphan = msgspec.structs.replace(
        run,
        id="cmd-20000101-000000-aaaa",
        state=RunState.QUEUED,
        started=None,
        ended=None,
        request=msgspec.json.encode(journal),
        status=msgspec.json.encode({"submitter": dead}),
    )
    local_workspace.store.runs.put(orphan)
    found = queries.refresh(local_workspace, [orphan])[0]
    assert found.state == RunState.FAILED
    assert status.of(found).message.startswith("it was never started")
    again = retry(local_workspace, found)
    assert texts(list(follow(local_workspace, again))) == ["hi"]


def test_following_through_cuts_loses_and_doubles_nothing(
    local_workspace: Workspace, local_box: Box
) -> None:
    """Its ssh, and the connection it shares, are killed again and again."""
    code = "import time\nfor n in range(400): print('line', n, flush=True); time.sleep(0.01)"
    run = command(local_workspace, local_box, PYTHON, "-c", code)
    local_workspace.sleep = lambda _: None
    stop = threading.Event()

    def cut() -> None:
        while not stop.wait(0.7):
            for process in psutil.process_iter(["name", "cmdline"]):
                line = " ".join(process.info["cmdline"] or ())
                if process.info["name"] == "ssh" and os.environ["DEVBOX_HOME"] in line:
                    with suppress(psutil.NoSuchProcess):  # it ended meanwhile
                        process.kill()

    cutter = threading.Thread(target=cut)
    cutter.start()
    try:
        messages = list(follow(local_workspace, run))
    finally:
        stop.set()
        cutter.join()
    assert texts(messages) == [f"line {n}" for n in range(400)]
    assert any(isinstance(m, Note) and "was cut" in m.text for m in messages)
    assert isinstance(messages[-1], Ended)


def test_a_box_that_stays_silent_ends_following_but_not_the_run(
    local_workspace: Workspace, local_box: Box
) -> None:
    run = command(local_workspace, local_box, "sleep", "300")
    clock = iter(range(0, 100_000, 60))
    local_workspace.clock = lambda: float(next(clock))
    local_workspace.sleep = lambda _: None
    kill_server(local_box)
    with pytest.raises(NoAnswer) as raised:
        list(follow(local_workspace, run))
    assert raised.value.fix == f"devbox attach {run.id}"


def test_runs_of_boxes_that_are_away_are_told_honestly(
    local_workspace: Workspace, local_box: Box
) -> None:
    run = command(local_workspace, local_box, "sleep", "300")

    def with_box(state: BoxState) -> Run:
        rewrite(local_workspace.store, msgspec.structs.replace(local_box, state=state))
        return queries.refresh(local_workspace, [run])[0]

    assert with_box(BoxState.PAUSED).state == RunState.UNKNOWN
    assert with_box(BoxState.RUNNING).state == RunState.RUNNING
    over = with_box(BoxState.TERMINATED)
    assert over.state == RunState.FAILED
    assert status.of(over).message == "its box was ended before the run was seen to finish"
    with pytest.raises(Conflict, match="is gone"):
        retry(local_workspace, over)


def test_a_box_that_does_not_answer_does_not_hold_up_the_list(
    local_workspace: Workspace, local_box: Box
) -> None:
    run = command(local_workspace, local_box, "sleep", "300")
    kill_server(local_box)
    assert queries.refresh(local_workspace, [run], patience=8) == [run]


def test_a_run_the_box_no_longer_knows_is_lost(local_workspace: Workspace, local_box: Box) -> None:
    run = command(local_workspace, local_box, "true")
    until(lambda: queries.refresh(local_workspace, [run])[0].state.is_over)
    with connection.connect(local_box) as link:
        link.run(["rm", "-rf", f".devbox-box/runs/{run.id}"])
    assert status.of(queries.refresh(local_workspace, [run])[0]).message.startswith(
        "the box no longer knows it"
    )

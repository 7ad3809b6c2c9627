"""`arm` and `guard` in this process: who follows the orders, and an agent that heeds none."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from devbox.box import event_log, json_file, paths, processes
from devbox.box.watchdog import arm, config, daemon
from devbox.box.watchdog.agent import RunningAgent, running_code
from devbox.wire.messages import Identity
from tests.idle.traces import T0
from tests.idle.world import ORDERS, World


@pytest.fixture
def root() -> Path:
    return paths.root()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An agent that follows the orders "o" as soon as it is started; each start is a line."""
    starts: list[str] = []

    def start(root: Path) -> int:
        starts.append("started")
        follow(root, "o")
        return os.getpid()

    monkeypatch.setattr(arm, "_start", start)
    return starts


def me() -> Identity:
    found = processes.identity(os.getpid())
    assert found
    return found


def follow(root: Path, orders: str, who: Identity | None = None, code: str = "") -> None:
    """The agent is that process, by default this one, and follows those orders."""
    agent = RunningAgent(*(who or me()), code or running_code(), orders)
    json_file.write(root / "agent.json", agent)


def hand_in(monkeypatch: pytest.MonkeyPatch, body: dict[str, Any]) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(body).encode())))


def test_an_agent_of_the_same_code_is_told_to_look(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world = World()
    world.live(1)
    mark = world.root / "mark"
    recipe = {"kind": "exec", "argv": ["true"], "armed": str(mark)}
    hand_in(monkeypatch, {**ORDERS, "policy": {"after": 600}, "pause": recipe})
    before = signal.signal(signal.SIGHUP, lambda *_: world.live(1))
    try:
        assert arm.main([]) == 0
    finally:
        signal.signal(signal.SIGHUP, before)
    assert json.loads(capsys.readouterr().out) == {
        "armed": True,
        "pid": os.getpid(),
        "restarted": False,
    }
    assert mark.read_text() == str(world.root)
    (told,) = event_log.read(world.root)
    assert (told.kind, told.message) == ("armed", "pauses after 10m of quiet, at most 8h from now")


def test_an_agent_of_other_code_is_ended_and_replaced(root: Path, started: list[str]) -> None:
    with subprocess.Popen(["sleep", "60"]) as old:
        who = processes.identity(old.pid)
        follow(root, "o", who, "devbox-box-old.pyz")
        assert arm._heeding(root, "o") == (os.getpid(), True)
        assert old.wait(60) == -signal.SIGTERM
    assert started == ["started"]


def test_an_agent_that_heeds_no_signal_is_killed_and_replaced(
    root: Path, started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arm, "_HEED", 0.01)
    monkeypatch.setattr(arm, "_STOP", 0.01)
    deaf = "trap '' HUP TERM; echo; exec sleep 60"
    with subprocess.Popen(["sh", "-c", deaf], stdout=subprocess.PIPE) as old:
        assert old.stdout
        old.stdout.readline()
        who = processes.identity(old.pid)
        follow(root, "those before", who)
        assert arm._heeding(root, "o") == (os.getpid(), True)
        assert old.wait(60) == -signal.SIGKILL
    assert started == ["started"]


def test_an_agent_that_nothing_ends_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one whose read of a dead mount cannot be interrupted."""
    sent: list[tuple[list[int], int]] = []
    monkeypatch.setattr(processes, "send", lambda pids, number: sent.append((pids, number)))
    monkeypatch.setattr(arm, "_STOP", 0.0)
    arm._stop(me())
    assert sent == [([os.getpid()], signal.SIGTERM), ([os.getpid()], signal.SIGKILL)]


@pytest.mark.parametrize(
    "orders",
    [
        b"",
        b"not json",
        b"[]",
        b'{"v": 2}',
        b'{"v": 1, "policy": {"after": 0}, "armed": {}}',
        b'{"v": 1, "policy": {}, "pause": {"kind": "shell"}}',
        b'{"v": 1, "policy": {}, "deadline": "soon"}',
        b'{"v": 1, "policy": {}, "workdir": 7}',
        b'{"v": 1, "policy": {"after": 1e999}}',
        b'{"v": 1, "x": "' + b"x" * 100_000 + b'"}',
    ],
)
def test_orders_that_make_no_sense_change_nothing(
    root: Path,
    started: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    orders: bytes,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(orders)))
    assert arm.main([]) == 2
    assert "these orders cannot be followed: " in capsys.readouterr().err
    assert not (root / config.FILE).exists()
    assert started == []


@pytest.mark.parametrize("log", ["", "no space left on device\n"])
def test_an_agent_that_does_not_start_is_told_with_its_last_words(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], log: str
) -> None:
    if log:
        (root / "agent.log").write_text(log)
    children: list[int] = []

    def start(_: Path) -> int:
        children.append(os.spawnlp(os.P_NOWAIT, "sh", "sh", "-c", "exit 1"))
        return children[-1]

    monkeypatch.setattr(arm, "_start", start)
    hand_in(monkeypatch, ORDERS)
    assert arm.main([]) == 1
    assert len(children) == 1, "it is not tried again"
    said = capsys.readouterr().err
    assert said.startswith("the watchdog did not start: ")
    assert (log.strip() or "No such file") in said
    assert event_log.read(root) == []


def test_a_lock_that_is_never_let_go_ends_the_wait(
    root: Path, started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arm, "_START", 0.01)
    lock = daemon._take_lock(root)
    assert lock is not None
    assert daemon.is_watched(root)
    assert arm._heeding(root, "o") == (None, True)
    os.close(lock)
    assert not daemon.is_watched(root)
    assert started == []


def test_a_box_takes_its_first_orders_once_in_each_life_and_never_after_others(
    root: Path, tmp_path: Path
) -> None:
    file, mark = tmp_path / "orders.json", tmp_path / "mark"
    first = {"v": 1, "box": "gpu1", "policy": {"after": 600}, "deadline": None, "max_uptime": 3600}

    def guarded(began: float) -> float | None:
        assert arm.guard([str(file), str(began), str(mark)]) == 0
        given = config.read(root, config.moment())
        assert given
        return given.deadline

    file.write_text(json.dumps(first))
    assert guarded(T0) == T0 + 3600
    file.write_text(json.dumps({**first, "max_uptime": 60}))
    assert guarded(T0) == T0 + 3600, "the same life: these are in force"
    assert guarded(T0 + 9000) == T0 + 9060, "another life of the box"
    mark.write_text(str(root))
    assert guarded(T0 + 20_000) == T0 + 9060, "orders came over ssh since"
    assert [event.message.partition(":")[0] for event in event_log.read(root)] == [
        "from its first second"
    ] * 2


@pytest.mark.parametrize("content", [None, "[]", '{"v": 1, "box": "b"}'])
def test_first_orders_that_make_no_sense_are_none(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None
) -> None:
    file = tmp_path / "orders.json"
    if content is not None:
        file.write_text(content)
    assert arm.guard([str(file), str(T0), str(tmp_path / "mark")]) == 2
    assert "first orders cannot be followed" in capsys.readouterr().err
    assert not (root / config.FILE).exists()


def test_an_agent_that_found_the_lock_taken_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The holder may end without having read the orders: then nobody would follow them."""
    started: list[int] = []

    def start(root: Path) -> int:
        follows = bool(started)
        code = 0 if follows else daemon.ANOTHER_RUNS
        started.append(os.spawnlp(os.P_NOWAIT, "sh", "sh", "-c", f"exit {code}"))
        if follows:
            me = processes.identity(os.getpid())
            assert me
            json_file.write(root / "agent.json", {**me._asdict(), "orders": "o"})
        return started[-1]

    monkeypatch.setattr(arm, "_start", start)
    assert arm._heeding(tmp_path, "o") == (os.getpid(), True)
    assert len(started) == 2

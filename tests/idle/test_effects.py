"""What the ladder does on a box: its lines, its save command, its pause."""

from __future__ import annotations

import os
import pty
from pathlib import Path
from typing import Any

import pytest

from devbox.box import json_file, paths, processes
from devbox.box.probes.terminals import Terminals
from devbox.box.runs import then
from devbox.box.watchdog import config
from devbox.box.watchdog.deadline import Moment
from devbox.box.watchdog.effects import BoxEffects
from tests.idle.traces import T0
from tests.idle.world import ORDERS

NOW = Moment(T0, 1000.0)


class Spoken:
    """How often a line went to a terminal."""

    count = 0

    def __call__(self) -> None:
        self.count += 1


def effects(folder: Path = Path("/nowhere"), spoke: Any = None, **more: Any) -> BoxEffects:
    given = config.receive(paths.root(), {**ORDERS, **more}, NOW)
    return BoxEffects(paths.root(), given, Terminals(folder, shared=""), spoke or Spoken())


def test_only_a_line_that_somebody_could_read_is_our_own_traffic(tmp_path: Path) -> None:
    spoke = Spoken()
    its = effects(tmp_path, spoke)
    its.say("this box pauses in 5m")
    assert spoke.count == 0
    master, slave = pty.openpty()
    (tmp_path / "0").symlink_to(os.ttyname(slave))
    its.say("this box pauses in 1m")
    assert spoke.count == 1
    assert b"[devbox] this box pauses in 1m" in os.read(master, 4096)
    os.close(master)
    os.close(slave)


@pytest.mark.parametrize(
    ("command", "ok", "said"),
    [
        ([], True, "no save command"),
        (["true"], True, "the save command ended well"),
        (["sh", "-c", "echo no space; exit 2"], False, "ended with code 2: no space"),
        (["/nonexistent"], False, "ended with code 127: /nonexistent: "),
        (["sleep", "60"], False, "the save command was killed after 0 s"),
    ],
)
def test_how_the_save_command_ended_is_told(command: list[str], ok: bool, said: str) -> None:
    took = 0.1 if command == ["sleep", "60"] else 60
    report = effects(policy={"save_command": command, "save_timeout": took}).save()
    assert report.ok is ok
    assert said in report.detail


@pytest.mark.parametrize(
    ("recipe", "ok", "said"),
    [
        ({"kind": "exec", "argv": ["true"]}, True, "accepted"),
        ({"kind": "exec", "argv": ["false"]}, False, "false: code 1: "),
        (None, False, "this box cannot pause itself"),
    ],
)
def test_an_order_of_a_run_is_carried_out_once_the_pause_is_accepted(
    recipe: Any, ok: bool, said: str
) -> None:
    order = then.Order("pause", "r1", T0, 1000.0, processes.boot_id())
    json_file.write(paths.root() / then.FILE, order)
    report = effects(pause=recipe).pause()
    assert (report.ok, report.detail) == (ok, said)
    assert then.read(paths.root()) == (None if ok else order)


def test_an_event_that_cannot_be_written_is_told_in_the_log(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("devbox.box.event_log.append", full)
    effects().event("warning", "would pause in 5m")
    said = capsys.readouterr().err
    assert "event warning not written: " in said
    assert "No space left on device" in said
    assert "would pause in 5m" in said

"""What `devbox guard` takes while nothing happens: memory that stays, and its share of a core."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from devbox import lifecycle, spec
from devbox.guard.round import CALM, read_status
from devbox.guard.watch import EVERY, TICK
from devbox.workspace import Workspace
from tests.bench.rows import Row

_ROUNDS = 5
_STRETCH = 2 * TICK + 5  # seconds of waiting that are measured
_GOAL_MB, _GOAL_SHARE = 40.0, 0.002


def rows(home: Path) -> list[Row]:
    """home: an empty folder that is HOME and holds DEVBOX_HOME."""
    folder = home / "project"
    folder.mkdir()
    (folder / "devbox.toml").write_text('[boxes.b]\npause_at = "20:00"\n')
    idle = _measured(EVERY if _bills(folder) else CALM, "no box")
    ws = Workspace(spec.load(folder / "devbox.toml"))
    lifecycle.up(ws, "b")
    try:
        return [*idle, *_measured(EVERY, "one box")]
    finally:
        lifecycle.down(ws, ws.box("b"), save=False)
        ws.close()


def _bills(folder: Path) -> bool:
    ws = Workspace(spec.load(folder / "devbox.toml"))
    try:
        return bool(ws.store.boxes.all())
    finally:
        ws.close()


def _measured(every: float, what: str) -> list[Row]:
    """Waiting is measured over a stretch; a round, with its look at the providers, over several
    that are asked for. Both make the share that it takes with a round each `every` seconds."""
    command = [sys.executable, "-P", "-m", "devbox.guard"]
    started = time.time()
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    this = psutil.Process(process.pid)
    try:
        _until(lambda: (found := read_status()) is not None and found.at > started)
        _until(lambda: not this.children())
        began, own = time.monotonic(), _own(this)
        time.sleep(_STRETCH)
        waiting = (_own(this) - own) / (time.monotonic() - began)
        peak = 0.0
        children = _children(this)
        own = _own(this)
        for _ in range(_ROUNDS):
            before = (found := read_status()) and found.at
            os.kill(process.pid, signal.SIGUSR1)
            _until(lambda before=before: (s := read_status()) is not None and s.at != before)  # type: ignore[misc]
            peak = max([peak, *(_rss(child) for child in this.children())])
            _until(lambda: not this.children())
        each = (_children(this) - children + _own(this) - own) / _ROUNDS
        memory = _rss(this)
    finally:
        process.terminate()
        process.wait()
    share = waiting + each / every
    return [
        Row(
            f"devbox guard, {what}: memory that stays",
            f"{memory:.1f} MB",
            f"a round, for its moment {peak:.0f} MB",
            f"{memory:.1f} MB",
            f"≤ {_GOAL_MB:.0f} MB",
            memory <= _GOAL_MB,
        ),
        Row(
            f"devbox guard, {what}: share of a core",
            f"{share * 100:.3f} %",
            f"a round {each:.2f} s each {every / 60:.0f} min",
            f"{share * 100:.3f} %",
            f"≤ {_GOAL_SHARE * 100:.1f} %",
            share <= _GOAL_SHARE,
        ),
    ]


def _own(process: psutil.Process) -> float:
    found = process.cpu_times()
    return float(found.user + found.system)


def _children(process: psutil.Process) -> float:
    """Of those that ended and were waited for, with theirs."""
    found = process.cpu_times()
    return float(found.children_user + found.children_system)


def _rss(process: psutil.Process) -> float:
    """MB; 0 for one that ended."""
    try:
        return float(process.memory_info().rss) / 1e6
    except psutil.Error:
        return 0.0


def _until(met: Callable[[], object]) -> None:
    until = time.monotonic() + 60
    while not met():
        if time.monotonic() > until:
            raise TimeoutError("the guard did not look")
        time.sleep(0.02)

"""Every process of a box: found by the mark in its environment and by descent, ended permanently.

The mark survives setsid and nohup; descent finds those that cleared their environment (the guard
adopts orphans where the system lets it). psutil.Process carries the start time and refuses to
signal a pid that another program has meanwhile, so no stranger is ever hit.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from devbox.box.processes import depth
from devbox.providers.local.box_dir import MARK, BoxDir

GRACE = 5.0  # seconds between asking and killing
_LIMIT = 12.0  # seconds after which what still lives is left


def of_box(folder: BoxDir) -> list[psutil.Process]:
    """Its live processes, but this one; parents before what they have started. Zombies are over
    and not listed."""
    every: list[psutil.Process] = []
    children: dict[int, list[psutil.Process]] = {}
    parents: dict[int, int] = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            parents[process.pid] = process.ppid()
            children.setdefault(parents[process.pid], []).append(process)
            if process.environ().get(MARK) == folder.mark:
                every.append(process)
    seen = {process.pid for process in every}
    for process in every:  # grows while it is walked
        for child in children.get(process.pid, ()):
            if child.pid not in seen:
                seen.add(child.pid)
                every.append(child)
    every.sort(key=lambda process: depth(process.pid, parents))
    return [p for p in every if p.pid != os.getpid() and _lives(p)]


def end_all(folder: BoxDir) -> list[psutil.Process]:
    """Ask every process to end, kill what is left after `GRACE` seconds, and look again until
    nothing is. What is born meanwhile may be saving, so it is not asked. Returns those that
    outlived even that for `_LIMIT` seconds (another user's)."""
    start = time.monotonic()
    for process in of_box(folder):
        _ask_to_end(process)
    while left := of_box(folder):
        late = time.monotonic() - start > GRACE
        if late:
            for process in left:
                _signal(process, signal.SIGKILL)
        if time.monotonic() - start > _LIMIT:
            return left
        _wait(left, 0.1 if late else start + GRACE - time.monotonic())
    return []


def of_group(folder: BoxDir, group: int) -> list[psutil.Process]:
    """The box's processes in one process group."""
    found = []
    for process in of_box(folder):
        with suppress(ProcessLookupError):
            if os.getpgid(process.pid) == group:
                found.append(process)
    return found


def _wait(processes: Sequence[psutil.Process], seconds: float) -> None:
    """Until all are gone, at most that long. New ones are the next look's business."""
    until = time.monotonic() + seconds
    pause = 0.002
    while any(_lives(p) for p in processes) and time.monotonic() < until:
        time.sleep(pause)
        pause = min(pause * 1.5, 0.03)


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _ask_to_end(process: psutil.Process) -> None:
    """SIGTERM; an interactive shell ignores that and ends on SIGHUP, which any other program would
    die of while it saves. A stopped process needs SIGCONT to hear either."""
    if _ignores_term(process):
        _signal(process, signal.SIGHUP)
    _signal(process, signal.SIGTERM)
    _signal(process, signal.SIGCONT)


def _ignores_term(process: psutil.Process) -> bool:
    """From /proc (proc(5), SigIgn); elsewhere any process of a terminal is taken for its shell."""
    if sys.platform != "linux":
        with suppress(psutil.Error):
            return process.terminal() is not None
        return False
    with suppress(OSError, ValueError):
        for line in Path(f"/proc/{process.pid}/status").read_text("ascii", "replace").splitlines():
            if line.startswith("SigIgn:"):
                return bool(int(line.split()[1], 16) & 1 << signal.SIGTERM - 1)
    return False


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    with suppress(psutil.Error):
        process.send_signal(number)

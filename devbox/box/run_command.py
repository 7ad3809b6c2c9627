"""Running a program to its end within a time, with the last of what it printed."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from pathlib import Path
from typing import Dict, NamedTuple, Optional, Sequence

from devbox.box import processes
from devbox.wire.codec import clean

_TAIL = 600  # bytes
_GRACE = 5.0  # seconds between asking and killing


class Done(NamedTuple):
    """code: exit code, negative for a signal; None: it did not end in time and was killed.
    tail: the last of what it printed, cleaned."""

    code: Optional[int]
    tail: str

    @property
    def ok(self) -> bool:
        return self.code == 0


def run(
    argv: Sequence[str],
    *,
    timeout: float,
    cwd: Optional[Path] = None,
    env: Optional[Dict[str, str]] = None,
) -> Done:
    """Run `argv` (no shell) in a session of its own. One that cannot be started has code 127."""
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=env,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        return Done(127, clean(f"{argv[0] if argv else ''}: {error}", 300))
    with process:
        tail, in_time = _watch(process, time.monotonic() + timeout)
        if not in_time:
            _end(process)
    return Done(process.returncode if in_time else None, clean(tail.decode(errors="replace"), 600))


def _watch(process: subprocess.Popen[bytes], until: float) -> tuple[bytes, bool]:
    """What it printed last, and whether it ended in time. A background child that keeps the pipe
    open is not waited for."""
    assert process.stdout is not None
    pipe, tail, is_open = process.stdout.fileno(), b"", True
    while True:
        ended = process.poll() is not None
        wait = 0.0 if ended else min(0.1, max(0.0, until - time.monotonic()))
        if is_open and select.select([pipe], [], [], wait)[0]:
            chunk = os.read(pipe, 65536)
            is_open = bool(chunk)
            tail = (tail + chunk)[-_TAIL:]
        elif ended:
            return tail, True
        elif not is_open:
            time.sleep(wait)
        if time.monotonic() >= until:
            return tail, process.poll() is not None


def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM once to its group, SIGKILL to what is left of the group after the grace."""
    _signal_group(process.pid, signal.SIGTERM)
    until = time.monotonic() + _GRACE
    while time.monotonic() < until and (process.poll() is None or _lives(process.pid)):
        time.sleep(0.02)
    _signal_group(process.pid, signal.SIGKILL)
    process.wait()


def _signal_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return


def _lives(group: int) -> bool:
    return any(each.group == group and each.state != "Z" for each in processes.table())

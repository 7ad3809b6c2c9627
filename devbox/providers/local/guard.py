"""The guard of one life of a box: a small parent of the server that sees to its end.

However the server ends (pause, ceiling, crash, kill -9), the guard ends every process of the box
and stamps the meter. It adopts the box's orphans (Linux), enforces the ceiling over a server that
hangs, and sleeps the rest of the time.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import time
from contextlib import suppress

from devbox.providers.local.box_dir import BoxDir

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_LATE = 5.0  # seconds past its ceiling at which a server counts as hung
_LOOK = 30.0  # seconds between looks at the wall clock, which a suspend moves


def adopt_orphans() -> None:
    """Make processes of the box whose parent died children of this one."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def watch(folder: BoxDir, life: int, server: int, uptime: float) -> None:
    """Until the server is gone; then end the box's processes and stamp the end of the life.

    server: its pid, a child of this process. uptime: seconds it may live.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    reason, failed = _why(folder, _wait(server, uptime))
    finish(folder, life, reason, failed=failed)


def finish(
    folder: BoxDir, life: int, reason: str, *, at: float | None = None, failed: bool = False
) -> bool:
    """End every process of the box, then stamp the end of its life: `at`, else now. False when
    another user's process outlived it; then the life continues."""
    from devbox.providers.local.processes import end_all

    if left := end_all(folder):
        print(f"could not end: {[p.pid for p in left]}", file=sys.stderr, flush=True)
        return False
    folder.stamp_end(life, time.time() if at is None else at, reason, failed)
    return True


def _wait(server: int, uptime: float) -> int | None:
    """Reap children until the server is among them: its wait status, None when it hangs."""
    wall, clock = time.time() + uptime + _LATE, time.monotonic() + uptime + _LATE
    reader, writer = os.pipe()
    for end in (reader, writer):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        with suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                if found[0] == server:
                    return found[1]
        left = min(wall - time.time(), clock - time.monotonic())
        if left <= 0:
            return None
        if select.select([reader], [], [], min(left, _LOOK))[0]:
            os.read(reader, 4096)


def _why(folder: BoxDir, status: int | None) -> tuple[str, bool]:
    """Why the server is gone, and whether by its own fault."""
    if status is None:
        return "max_uptime reached and its server hung", False
    if reason := folder.stop_reason():
        return reason, False
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return f"its server was killed by {signal.Signals(-code).name}", False
    return f"its server ended with code {code}", True

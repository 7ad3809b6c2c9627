"""`agent`: the watchdog's process. One runs per box (a lock that dies with its process); SIGHUP
makes it look at its orders now. It ends on SIGTERM, and when its folder is gone: on a machine that
stays up the box is over then.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import sys
from pathlib import Path
from typing import List, Optional

from devbox.box import paths
from devbox.box.watchdog import config
from devbox.box.watchdog.agent import Agent
from devbox.box.watchdog.digest import FOLDER, Digests

LOCK = "agent.lock"
#: of the digests: two weeks of them, some 100 KB a day
_KEPT_BYTES, _KEPT_FOR, _SEGMENT_FOR = 4 << 20, 14 * 86400.0, 6 * 3600.0
ANOTHER_RUNS = 3  # exit code of an agent that found the lock taken


def main(args: List[str]) -> int:
    """The verb; it stays in the foreground. Exit code ANOTHER_RUNS."""
    root = paths.root()
    lock = _take_lock(root)
    if lock is None:
        print("another agent watches this box already", file=sys.stderr)
        return ANOTHER_RUNS
    from devbox.box.history import History as DiskHistory
    from devbox.box.probes.sampler import Sampler as BoxSampler

    wake = _Signals()
    agent = Agent(
        root,
        lambda: BoxSampler(root),
        DiskHistory(root / "history"),
        digests=Digests(
            DiskHistory(
                root / FOLDER,
                max_bytes=_KEPT_BYTES,
                max_age=_KEPT_FOR,
                segment_age=_SEGMENT_FOR,
            )
        ),
        owns=lambda: _owns(root, lock),
    )
    while not wake.ended and not _is_replaced(root, lock):
        now = config.moment()
        agent.tick(now, woken=wake.woken)
        wake.wait(int(now.mono + 1) - config.moment().mono)
    agent.close()
    return 0


def is_watched(root: Path) -> bool:
    """Whether an agent holds the lock, which may be at its start or its end."""
    lock = _take_lock(root)
    if lock is not None:
        os.close(lock)
    return lock is None


def _take_lock(root: Path) -> Optional[int]:
    """The lock's descriptor, None while another process holds it."""
    lock = os.open(root / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _owns(root: Path, lock: int) -> bool:
    """Whether the folder is the one this agent locked. Orders in another are another agent's."""
    try:
        return (root / LOCK).stat().st_ino == os.fstat(lock).st_ino
    except OSError:
        return False


def _is_replaced(root: Path, lock: int) -> bool:
    """Whether the folder is gone, or was made again and has an agent of its own. One that cannot
    be looked at now does not end the watch."""
    try:
        return (root / LOCK).stat().st_ino != os.fstat(lock).st_ino
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False


class _Signals:
    """Waiting that a signal ends at once."""

    def __init__(self) -> None:
        self.ended = self.woken = False
        self._read, write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        signal.signal(signal.SIGHUP, lambda *_: None)

    def wait(self, seconds: float) -> None:
        self.woken = bool(select.select([self._read], [], [], max(0.0, seconds))[0])
        if self.woken:
            os.read(self._read, 512)

    def _end(self, *_: object) -> None:
        self.ended = True

"""The terminals of this box's user: who typed last, and a line for whoever looks at one.

The kernel moves a terminal's access time when a program reads input from it, in steps of 8 s
(drivers/tty/tty_io.c, tty_update_time), whatever the ssh server in front of it counts.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Dict, List, Optional, Set

from devbox.box import processes
from devbox.wire.codec import clean

PTS = Path("/dev/pts")
#: In the environment of every process of a box that shares its machine with the user.
SHARED = "DEVBOX_LOCAL_BOX"
_SEARCH_EVERY = 10.0  # seconds; reading every process's environment costs milliseconds
_LIMIT = 300  # characters


class Terminals:
    """folder: where pseudo-terminals are. On a box that shares its machine with the user, only
    those that one of the box's own processes has as its stdin belong to it."""

    def __init__(self, folder: Path = PTS, *, shared: Optional[str] = None) -> None:
        self._folder = folder
        self._shared = os.environ.get(SHARED, "") if shared is None else shared
        self._found: Set[Path] = set()
        self._searched_at = float("-inf")

    def look(self, now: float) -> Optional[Dict[str, Optional[float]]]:
        """The "tty" part of a sample; None where terminals cannot be seen. now: any clock."""
        if not self._folder.is_dir():
            return None
        times = []
        for path in self.mine(now):
            try:
                times.append(path.stat().st_atime)
            except OSError:
                continue  # closed meanwhile
        return {"count": len(times), "input_at": max(times) if times else None}

    def say(self, message: str) -> int:
        """Show one line on each; how many took it. A terminal that is stuck is passed over."""
        line = clean(message, _LIMIT).replace("\n", " ")
        data = f"\r\n[devbox] {line}\r\n".encode("utf-8", "replace")
        told = 0
        for path in self.mine(float("inf")):
            try:
                handle = os.open(path, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
            except OSError:
                continue  # closed meanwhile
            try:
                told += os.write(handle, data) > 0
            except OSError:
                continue  # its reader stands still; the event tells it too
            finally:
                os.close(handle)
        return told

    def mine(self, now: float) -> List[Path]:
        """The pseudo-terminals of the box's user."""
        try:
            names = os.listdir(self._folder)
        except OSError:
            return []
        found = [self._folder / name for name in names if name.isdigit()]
        if self._shared and not 0 <= now - self._searched_at < _SEARCH_EVERY:
            self._found = _of_processes(processes.marked(f"{SHARED}={self._shared}"))
            self._searched_at = now if now < float("inf") else float("-inf")
        return [
            path for path in found if _is_ours(path) and (not self._shared or path in self._found)
        ]


def _is_ours(path: Path) -> bool:
    try:
        about = path.stat()
    except OSError:
        return False  # closed meanwhile
    return about.st_uid == os.getuid() and stat.S_ISCHR(about.st_mode)


def _of_processes(pids: Set[int]) -> Set[Path]:
    found = set()
    for pid in pids:
        try:
            found.add(Path(os.readlink(f"{processes.PROC}/{pid}/fd/0")))
        except OSError:
            continue  # ended meanwhile
    return found

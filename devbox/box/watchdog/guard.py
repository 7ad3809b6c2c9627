"""`guard FILE STARTED MARK`: the orders a box was made with, taken from its own first second.

FILE holds orders as for `arm`, but "max_uptime" in seconds instead of "deadline", "started" and
"sent"; STARTED is when this life of the box began (unix seconds, by its own clock). Orders that
came over ssh since then, which leave the file MARK, stay in force. The agent itself is started by
who calls this (devbox.providers.guarded).
"""

from __future__ import annotations

import fcntl
import sys
from pathlib import Path
from typing import List

from devbox.box import event_log, json_file, paths
from devbox.box.watchdog import arm, config
from devbox.wire.codec import decode, plain
from devbox.wire.messages import WatchdogConfig


def main(args: List[str]) -> int:
    """The verb. Exit code 2: the file holds no orders."""
    file, started, mark = Path(args[0]), float(args[1]), Path(args[2])
    root = paths.root()
    with open(root / "arm.lock", "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = json_file.load(root / config.FILE, WatchdogConfig)
        if known and (mark.exists() or known.started == started):
            return 0
        now = config.moment()
        try:
            first = decode(file.read_bytes(), WatchdogConfig)
            deadline = None if first.max_uptime is None else started + first.max_uptime
            first = first._replace(deadline=deadline, started=started, sent=now.wall)
            given = config.receive(root, plain(first), now)
        except (OSError, ValueError) as error:
            print(f"the box's first orders cannot be followed: {error}", file=sys.stderr)
            return 2
        arm.forget(root)
    event_log.append(root, "armed", f"from its first second: {arm.summary(given)}")
    return 0

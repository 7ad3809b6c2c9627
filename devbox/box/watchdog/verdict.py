"""`verdict`: the watchdog's present `Verdict` on stdout, its times by this box's clock.

`verdict unsynced` counts what is only here as well. Exit code 3: no watchdog runs on this box.
"""

from __future__ import annotations

import sys
import time
from typing import List

from devbox.box import json_file, paths, processes
from devbox.box.files import unsynced
from devbox.box.watchdog import config
from devbox.wire.codec import encode
from devbox.wire.messages import Identity, Verdict

_GLANCE = 1.0  # seconds to look what is unsynced
_STALE = 60.0  # seconds without a new verdict after which the watchdog does not run properly


def main(args: List[str]) -> int:
    """The verb."""
    root, now = paths.root(), time.time()
    if not processes.is_alive(json_file.load(root / "agent.json", Identity)):
        print("no watchdog runs on this box", file=sys.stderr)
        return 3
    given = config.read(root, config.moment())
    found = json_file.load(root / "verdict.json", Verdict)
    if found is None:
        deadline = given.deadline if given else None
        started = ("the watchdog has just started",)
        found = Verdict("active", 0.0, None, started, deadline=deadline, now=now)
    age = now - (found.now or now)
    if age > _STALE:
        reasons = (f"the watchdog has said nothing for {age:.0f} s", *found.reasons)
        found = found._replace(silent=age, reasons=reasons)
    if given and "unsynced" in args:
        folder = unsynced.workdir(given.workdir)
        found = found._replace(unsynced=unsynced.summary(root, folder, seconds=_GLANCE))
    sys.stdout.buffer.write(encode(found._replace(now=now)))
    return 0

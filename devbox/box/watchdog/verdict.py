"""`verdict`: the watchdog's present verdict as JSON on stdout, with "now" by this box's clock.

Fields are those of policy.Verdict. `verdict unsynced` adds "unsynced": what is only
here, in words. Exit code 3: no watchdog runs on this box.
"""

from __future__ import annotations

import json
import sys
import time
from typing import List

from devbox.box import json_file, paths, processes
from devbox.box.files import unsynced
from devbox.box.watchdog import config

_GLANCE = 1.0  # seconds to look what is unsynced
_STALE = 60.0  # seconds without a new verdict after which the watchdog does not run properly


def main(args: List[str]) -> int:
    """The verb."""
    root, now = paths.root(), time.time()
    known = json_file.read(root / "agent.json")
    if not known or not processes.is_alive(known):
        print("no watchdog runs on this box", file=sys.stderr)
        return 3
    found = json_file.read(root / "verdict.json")
    if found is None:
        given = config.read(root, config.moment())
        found = {
            "state": "active",
            "idle_for": 0.0,
            "pauses_at": None,
            "cause": None,
            "reasons": ["the watchdog has just started"],
            "keep_until": None,
            "deadline": given.ceiling.deadline if given and given.ceiling else None,
            "warned": False,
            "t": now,
        }
    age = now - (json_file.number(found.get("t")) or now)
    if age > _STALE:
        found["silent"] = age
        found["reasons"] = [f"the watchdog has said nothing for {age:.0f} s", *found["reasons"]]
    given = config.read(root, config.moment()) if "unsynced" in args else None
    if given:
        folder = unsynced.workdir(given.workdir)
        found["unsynced"] = unsynced.find(root, folder, seconds=_GLANCE).sentence()
    print(json.dumps({**found, "now": now}))
    return 0

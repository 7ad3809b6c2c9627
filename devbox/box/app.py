"""`app restart`: restart the program that `images/files/supervise.py` runs, in the same container.

Prints {"starts": N}. Exit code 3: no such supervisor runs here, and nothing was changed; 4: it did
not start the program again in time.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import List, Mapping, Optional

from devbox.box import json_file

NO_SUPERVISOR, NOT_AGAIN = 3, 4
_PATIENCE = 20.0  # seconds; the program has ten to end by itself
_LOOK = 0.05


def main(args: List[str]) -> int:
    """The verb."""
    if args != ["restart"]:
        print("usage: app restart", file=sys.stderr)
        return 2
    file = Path.home() / ".devbox-app.json"
    before = json_file.read(file)
    pid = _supervisor(before)
    if before is None or pid is None:
        print("no supervisor of an app runs here", file=sys.stderr)
        return NO_SUPERVISOR
    os.kill(pid, signal.SIGHUP)
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        after = json_file.read(file)
        if after is not None and after.get("starts") != before.get("starts"):
            print(json.dumps({"starts": after.get("starts")}))
            return 0
        time.sleep(_LOOK)
    print("the app was not started again in time", file=sys.stderr)
    return NOT_AGAIN


def _supervisor(known: Optional[Mapping[str, object]]) -> Optional[int]:
    """The pid in the file when it is a supervisor that we may signal: pids are used again."""
    pid = known.get("pid") if known else None
    if not isinstance(pid, int) or isinstance(pid, bool) or pid < 1:
        return None
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        os.kill(pid, 0)
    except OSError:
        return None
    return pid if any(word.endswith(b"supervise.py") for word in words) else None

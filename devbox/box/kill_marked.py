"""`end NAME=VALUE`: end whatever on this machine was given that in its environment.

For a machine that continues when its box does not. Runs are cancelled first, so that their records
say so; then everything gets SIGTERM, and SIGKILL a little later. Prints {"ended": N, "left":
[pids]}; exit code 1 when some of it cannot be ended.
"""

from __future__ import annotations

import json
import re
import signal
import sys
import time
from typing import Callable, List, Set

from devbox.box import processes
from devbox.box.runs.folder import RunFolder, active

_MARK = re.compile(r"[A-Z][A-Z0-9_]*=\S+")
# Seconds for runs to end as they like (their own grace is 10 s), for SIGTERM and for SIGKILL.
_CANCEL, _TERM, _KILL = 15.0, 3.0, 5.0


def main(args: List[str]) -> int:
    """The verb. Exit code 2: what it is told names nothing for certain."""
    if len(args) != 1 or not _MARK.fullmatch(args[0]):
        print("usage: devbox-box end NAME=VALUE", file=sys.stderr)
        return 2
    mark = args[0]
    before = processes.marked(mark)
    _cancel_runs(before)
    processes.ask_to_end(processes.marked(mark))
    _wait(lambda: not processes.marked(mark), _TERM)
    processes.send(processes.marked(mark), signal.SIGKILL)
    _wait(lambda: not processes.marked(mark), _KILL)
    left = processes.marked(mark)
    print(json.dumps({"ended": len(before - left), "left": sorted(left)}))
    return 1 if left else 0


def _cancel_runs(pids: Set[int]) -> None:
    """Cancel the runs that these processes look after, and give them time for it."""
    supervisors = []
    for name in active():
        folder = RunFolder(name)
        status = folder.status()
        supervisor = status.supervisor if status else None
        if supervisor and supervisor.pid in pids:
            folder.cancel_mark.touch()
            supervisors.append(supervisor)
    processes.send((each.pid for each in supervisors), signal.SIGTERM)
    _wait(lambda: not any(processes.is_alive(each) for each in supervisors), _CANCEL)


def _wait(done: Callable[[], bool], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not done() and time.monotonic() < until:
        time.sleep(0.02)

"""`arm`: orders as JSON on stdin (schema in devbox.onbox.orders) → kept, and the agent heeds them.

An agent of the same code is told to look; one of other code, or one that does not answer, is
replaced. Prints {"armed": true, "pid", "restarted"} once the agent says it follows these orders.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import List, Optional

from devbox.onbox import agent, journal, notes, orders, place, procs
from devbox.onbox.units import brief

MOST = 64 << 10  # bytes of orders
_HEED, _START, _STOP = 5.0, 20.0, 5.0  # seconds an agent has to heed, to start and to stop
_LEFTOVERS = ("ladder.json", "verdict.json", "syncing.json", "unsynced.json")


def main(args: List[str]) -> int:
    """The verb. Exit code 2: the orders are wrong, and those before stay in force."""
    del args
    root = place.root()
    with open(root / "arm.lock", "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            document = json.loads(sys.stdin.buffer.read(MOST + 1))
            if not isinstance(document, dict):
                raise ValueError("orders are not an object")
            given = orders.receive(root, document, orders.moment())
        except (ValueError, RecursionError) as error:
            print(f"these orders cannot be followed: {error}", file=sys.stderr)
            return 2
        for name in _LEFTOVERS:
            (root / name).unlink(missing_ok=True)
        pid, restarted = _heeding(root, given.id)
    if pid is None:
        print(f"the watchdog did not start: {_last_words(root)}", file=sys.stderr)
        return 1
    policy = given.policy
    idle = f"pauses after {brief(policy.after)} of quiet" if policy.enabled else "no idle pause"
    ceiling = f"at most {brief(given.ceiling.left)} from now" if given.ceiling else "no max_uptime"
    journal.append(root, "armed", f"{idle}, {ceiling}")
    print(json.dumps({"armed": True, "pid": pid, "restarted": restarted}))
    return 0


def _heeding(root: Path, order: str) -> tuple[Optional[int], bool]:
    """The pid of an agent that follows `order`, and whether it had to be started."""
    known = notes.read(root / "agent.json")
    if known and procs.is_alive(known):
        if known.get("code") == agent.code():
            procs.send([known["pid"]], signal.SIGHUP)
            if _follows(root, order, _HEED):
                return known["pid"], False
        _stop(known)
    started = _start(root)
    if _follows(root, order, _START, started):
        return (notes.read(root / "agent.json") or {}).get("pid"), True
    return None, True


def _follows(
    root: Path, order: str, seconds: float, started: Optional[subprocess.Popen[bytes]] = None
) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        known = notes.read(root / "agent.json") or {}
        if known.get("orders") == order and procs.is_alive(known):
            return True
        if started is not None and started.poll() not in (None, _ANOTHER_RUNS):
            return False
        time.sleep(0.02)
    return False


_ANOTHER_RUNS = 3  # exit code of an agent that found the lock taken: the holder heeds the file


def _stop(known: dict[str, int]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        procs.send([known["pid"]], number)
        until = time.monotonic() + _STOP
        while time.monotonic() < until:
            if not procs.is_alive(known):
                return
            time.sleep(0.02)


def _start(root: Path) -> subprocess.Popen[bytes]:
    """The agent in a session of its own, holding nothing of the login that started it."""
    program = os.path.realpath(sys.argv[0])
    environ = dict(os.environ)
    if program.endswith(".pyz"):
        argv = [sys.executable, program, "agent"]
    else:
        checkout = str(Path(__file__).parents[2])
        environ["PYTHONPATH"] = os.pathsep.join(
            part for part in (checkout, environ.get("PYTHONPATH")) if part
        )
        argv = [sys.executable, "-m", "devbox.onbox", "agent"]
    with open(root / "agent.log", "ab") as log:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=Path.home(),
            env=environ,
            start_new_session=True,
        )


def _last_words(root: Path) -> str:
    try:
        return (root / "agent.log").read_bytes()[-400:].decode(errors="replace").strip()
    except OSError as error:
        return str(error)

"""`arm`: orders as JSON on stdin (schema in `config`) → kept, and the agent heeds them.

Where the pause recipe names a file "armed", the box half's folder is written into it: the box's
own main process waits for that (devbox.providers.guarded).
An agent of the same code is told to look; one of other code, or one that does not answer, is
replaced. Prints {"armed": true, "pid", "restarted"} once the agent says it follows these orders.
The agent shows under the words of this verb, which are free: devbox says `arm agent`.

`guard FILE STARTED MARK`: the orders a box was made with, taken from its own first second.
FILE holds orders as for `arm`, but "max_uptime" in seconds instead of "deadline", "started" and
"sent"; STARTED is when this life of the box began (unix seconds, by its own clock). Orders that
came over ssh since then, which leave the file MARK, stay in force. The agent itself is started by
who calls this (devbox.providers.guarded).
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import List, NoReturn, Optional

from devbox.box import event_log, json_file, paths, processes
from devbox.box.format import brief
from devbox.box.runs import then
from devbox.box.watchdog import config, daemon
from devbox.box.watchdog.agent import RunningAgent, running_code
from devbox.box.watchdog.deadline import Moment
from devbox.wire.codec import decode, load, plain
from devbox.wire.messages import Identity, WatchdogConfig

MOST = 64 << 10  # bytes of orders
# Seconds an agent has to heed, to start, and to stop.
_HEED, _START, _STOP = 5.0, 20.0, 5.0
_LEFTOVERS = ("ladder.json", "verdict.json", "syncing.json")


def main(args: List[str]) -> int:
    """The verb. Exit code 2: the orders are wrong, and those before stay in force."""
    root = paths.root()
    with open(root / "arm.lock", "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            body = load(sys.stdin.buffer.read(MOST + 1), MOST)
            given = config.receive(root, body, config.moment())
        except ValueError as error:
            print(f"these orders cannot be followed: {error}", file=sys.stderr)
            return 2
        _forget(root, given)
        _leave_mark(root, given)
        pid, restarted = _heeding(root, given.armed.id)
    if pid is None:
        print(f"the watchdog did not start: {_last_words(root)}", file=sys.stderr)
        return 1
    event_log.append(root, "armed", _summary(given))
    print(json.dumps({"armed": True, "pid": pid, "restarted": restarted}))
    return 0


def guard(args: List[str]) -> int:
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
            first = first_orders(file.read_bytes(), started, now)
            given = config.receive(root, plain(first), now)
        except (OSError, ValueError) as error:
            print(f"the box's first orders cannot be followed: {error}", file=sys.stderr)
            return 2
        _forget(root, given)
    event_log.append(root, "armed", f"from its first second: {_summary(given)}")
    return 0


def first_orders(data: bytes, started: float, now: Moment) -> WatchdogConfig:
    """The orders a box was made with, as those of a life that began at `started`. ValueError when
    it holds none."""
    first: WatchdogConfig = decode(data, WatchdogConfig)
    deadline = None if first.max_uptime is None else started + first.max_uptime
    return first._replace(deadline=deadline, started=started, sent=now.wall)


def _forget(root: Path, given: WatchdogConfig) -> None:
    """What belongs to the orders before."""
    then.forget_older(root, given)
    for name in _LEFTOVERS:
        (root / name).unlink(missing_ok=True)


def _summary(given: WatchdogConfig) -> str:
    """What these orders come to, for an event."""
    policy = given.policy
    idle = f"pauses after {brief(policy.after)} of quiet" if policy.enabled else "no idle pause"
    ceiling = config.ceiling(given)
    told = f"at most {brief(ceiling.left)} from now" if ceiling else "no max_uptime"
    budget = config.allowance(given)
    money = f", {budget.name} in {brief(budget.left)}" if budget else ""
    return f"{idle}, {told}{money}"


def _leave_mark(root: Path, given: WatchdogConfig) -> None:
    """Tell the box's main process that it is armed, and where, when it waits for that."""
    mark = given.pause.armed if given.pause else ""
    if not mark:
        return
    try:
        Path(mark).write_text(str(root))
    except (OSError, ValueError) as error:
        print(f"{mark}: {error}", file=sys.stderr)


def _heeding(root: Path, order: str) -> tuple[Optional[int], bool]:
    """The pid of an agent that follows `order`, and whether it had to be started."""
    agent = json_file.load(root / "agent.json", RunningAgent)
    if agent and processes.is_alive(agent.identity):
        if agent.code == running_code():
            processes.send([agent.pid], signal.SIGHUP)
            if _follows(root, order, _HEED):
                return agent.pid, False
        _stop(agent.identity)
    # One that has ended lets go of its lock a little later, and one that the box's main process
    # starts takes it at any time: as long as one holds it, this one cannot start, and whoever
    # holds it follows the file once it looks.
    until, child = time.monotonic() + _START, 0
    while time.monotonic() < until:
        if not child and not daemon.is_watched(root):
            child = _start(root)
        if pid := _follower(root, order):
            return pid, True
        code = _ended(child) if child else None
        if code is not None:
            if code != daemon.ANOTHER_RUNS:
                break
            child = 0
        time.sleep(0.005)
    return None, True


def _follows(root: Path, order: str, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if _follower(root, order):
            return True
        time.sleep(0.005)
    return False


def _follower(root: Path, order: str) -> Optional[int]:
    """The pid of an agent that follows `order`."""
    agent = json_file.load(root / "agent.json", RunningAgent)
    follows = agent and agent.orders == order and processes.is_alive(agent.identity)
    return agent.pid if agent and follows else None


def _stop(agent: Identity) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        processes.send([agent.pid], number)
        until = time.monotonic() + _STOP
        while time.monotonic() < until:
            if not processes.is_alive(agent):
                return
            time.sleep(0.02)


def _start(root: Path) -> int:
    """The agent, as a fork of this process, whose imports it shares: a second interpreter would
    take as long again. Its pid, a child of ours."""
    sys.stdout.flush()
    sys.stderr.flush()
    return os.fork() or _become_agent(root)


def _become_agent(root: Path) -> NoReturn:
    """In a session of its own, holding nothing of the login that started it."""
    code = 1
    try:
        os.setsid()
        os.chdir(Path.home())
        log = os.open(root / "agent.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        for number, source in enumerate((os.open(os.devnull, os.O_RDONLY), log, log)):
            os.dup2(source, number)
        for name in os.listdir("/dev/fd"):
            if int(name) > 2:
                _close(int(name))
        code = daemon.main([])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _close(descriptor: int) -> None:
    try:
        os.close(descriptor)
    except OSError:  # the one that listed them
        return


def _ended(child: int) -> Optional[int]:
    """The exit code of a child of ours, None while it runs."""
    pid, status = os.waitpid(child, os.WNOHANG)
    if pid == 0:
        return None
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)


def _last_words(root: Path) -> str:
    try:
        return (root / "agent.log").read_bytes()[-400:].decode(errors="replace").strip()
    except OSError as error:
        return str(error)

"""Processes of the box: who they are for certain, whom they started, and how to end them all.

Linux answers from /proc; elsewhere (a local box on macOS) `ps` does.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from typing import Dict, Iterable, List, Mapping, NamedTuple, Optional, Set

from devbox.wire.messages import Identity

PROC = "/proc"


class Process(NamedTuple):
    """One line of the process table. rss: bytes. started: in the system's own form."""

    pid: int
    parent: int
    group: int
    state: str
    started: str
    rss: int


def identity(pid: int) -> Optional[Identity]:
    """Who has that pid now; None when nobody does, or only a zombie. ValueError when the process
    table says nothing that can be read: that is no word that the process is gone."""
    process = _read(pid)
    if process is None or process.state == "Z":
        return None
    return Identity(pid, process.started, boot_id())


def is_alive(who: Optional[Identity]) -> bool:
    """Whether that very process still runs."""
    return who is not None and identity(who.pid) == who


def boot_id() -> str:
    """Changes with every boot of the machine."""
    if sys.platform.startswith("linux"):
        with open(PROC + "/sys/kernel/random/boot_id", encoding="ascii") as stream:
            return stream.read().strip()
    return _ps_output(["sysctl", "-n", "kern.boottime"]).strip()


def table() -> List[Process]:
    """Every process that can be seen, zombies included."""
    if not sys.platform.startswith("linux"):
        return _ps(["-A"])
    found = []
    for name in os.listdir(PROC):
        with contextlib.suppress(ValueError):  # one odd line must not hide the others
            process = _read(int(name)) if name.isdigit() else None
            if process:
                found.append(process)
    return found


def descendants(root: int, processes: Iterable[Process]) -> List[Process]:
    """Everything below `root`, whatever its session or group. Without `root` itself."""
    children: Dict[int, List[Process]] = {}
    for process in processes:
        children.setdefault(process.parent, []).append(process)
    found: List[Process] = []
    waiting = list(children.get(root, ()))
    while waiting:
        process = waiting.pop()
        found.append(process)
        waiting.extend(children.get(process.pid, ()))
    return found


def marked(mark: str) -> Set[int]:
    """Pids whose environment was given `mark` ("NAME=value"), whoever their parent is now.
    Other people's processes cannot be read and are not ours."""
    if not sys.platform.startswith("linux"):
        return {
            int(line.split(None, 1)[0])
            for line in _ps_output(["ps", "-A", "-E", "-o", "pid=,command="]).splitlines()
            if f" {mark} " in line + " "
        }
    found = set()
    wanted = b"\0" + mark.encode() + b"\0"
    for name in os.listdir(PROC):
        if not name.isdigit():
            continue
        try:
            with open(f"{PROC}/{name}/environ", "rb") as stream:
                if wanted in b"\0" + stream.read() + b"\0":
                    found.add(int(name))
        except OSError:
            continue  # ended meanwhile, or another user's
    return found - {os.getpid()}


def ask_to_end(pids: Iterable[int]) -> None:
    """SIGTERM to each, parents before what they have started: a parent that sees its child die
    first takes that for its own end (a shell's `wait` returns) and saves nothing."""
    parents = {process.pid: process.parent for process in table()}
    send(sorted(pids, key=lambda pid: depth(pid, parents)), signal.SIGTERM)


def depth(pid: int, parents: Mapping[int, int]) -> int:
    """How many processes are above it, as far as `parents` knows them (pid → its parent's)."""
    above: Set[int] = set()
    while pid in parents and parents[pid] not in above:
        pid = parents[pid]
        above.add(pid)
    return len(above)


def send(pids: Iterable[int], number: int) -> None:
    """Signal each; one that has ended meanwhile is fine."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def die_with_parent() -> None:
    """In a child, before exec: get SIGKILL when the parent thread's process dies (Linux)."""
    _prctl(1, signal.SIGKILL)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends, also of those that made a session
    of their own, so that none slips away (Linux)."""
    _prctl(36, 1)


def _prctl(option: int, value: int) -> None:
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    # Best effort by nature: without it the mark in the environment still finds every process.
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _read(pid: int) -> Optional[Process]:
    if not sys.platform.startswith("linux"):
        found = _ps(["-p", str(pid)])
        return found[0] if found else None
    for again in (True, False):
        try:
            with open(f"{PROC}/{pid}/stat", "rb") as stream:
                text = stream.read()
        except OSError:
            return None
        # The name in parentheses may itself hold parentheses and spaces.
        fields = text.rpartition(b")")[2].split()
        if b")" in text and len(fields) > 21:
            break
        if not again:  # a live process was once seen without its name, and had it a moment later
            raise ValueError(f"{PROC}/{pid}/stat reads {text[:80]!r}")
    return Process(
        pid,
        int(fields[1]),
        int(fields[2]),
        fields[0].decode(),
        fields[19].decode(),
        int(fields[21]) * os.sysconf("SC_PAGE_SIZE"),
    )


def _ps(which: List[str]) -> List[Process]:
    found = []
    text = _ps_output(["ps", *which, "-o", "pid=,ppid=,pgid=,state=,rss=,lstart="])
    for line in text.splitlines():
        pid, parent, group, state, rss, started = line.split(None, 5)
        found.append(Process(int(pid), int(parent), int(group), state[0], started, int(rss) * 1024))
    return found


def _ps_output(argv: List[str]) -> str:
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    return done.stdout.decode(errors="replace")

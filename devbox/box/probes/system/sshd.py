"""OpenSSH's server processes and the bytes they moved, from /proc."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Dict, Optional, Set, Tuple

from devbox.box.probes.system import PROC

_NAMES = ("sshd", "sshd-session", "sshd-auth")
# What a process reads and writes at login before a user does anything: libraries, keys, key
# exchange. Measured with OpenSSH 9.2: 52 kB read, 11 kB written. It is not use.
_LOGIN = (65536, 16384)
# A young process may still turn into sshd by exec, so it is looked at again this many searches.
_YOUNG = 3


class Sshd:
    """found: an sshd runs here. readable: its io counters may be read. sessions: logins now."""

    def __init__(self, proc: Path = PROC) -> None:
        self._proc = proc
        self._others: Dict[str, int] = {}  # pid → searches it was seen in, not being sshd
        self._counted: Dict[str, _Counter] = {}
        self._gone = (0, 0)
        self._first = True
        self.found = self.readable = False
        self.sessions = 0

    def search(self) -> None:
        """Find the processes that came and went."""
        pids = {name for name in os.listdir(self._proc) if name.isdigit()}
        for pid in [pid for pid in self._others if pid not in pids]:
            del self._others[pid]
        for pid in pids:
            if pid not in self._counted and self._others.get(pid, 0) < _YOUNG:
                if self._name(pid) in _NAMES:
                    self._counted[pid] = _Counter(self._proc / pid, old=self._first)
                    self._others.pop(pid, None)
                else:
                    self._others[pid] = self._others.get(pid, 0) + 1
        if self._first:  # what runs since before us is settled
            self._others = dict.fromkeys(self._others, _YOUNG)
        self._first = False
        for pid in [pid for pid in self._counted if pid not in pids]:
            self._retire(pid)
        parents = {pid: self._parent(pid) for pid in self._counted}
        inner = set(parents.values())
        self.found = self.found or bool(self._counted)
        # a login is a last link of a chain: listener → monitor → user's process
        leaves: Set[str] = {
            pid for pid, parent in parents.items() if pid not in inner and parent in parents
        }
        self.sessions = len(leaves)
        sees = [self._counted[pid].step() for pid in leaves]
        self.readable = all(sees) if sees else self.readable

    def moved(self) -> Tuple[int, int]:
        """(read, written) by all of them since the first search."""
        for pid in list(self._counted):
            self._counted[pid].step()
        rows = [counter.total() for counter in self._counted.values()]
        return (
            self._gone[0] + sum(row[0] for row in rows),
            self._gone[1] + sum(row[1] for row in rows),
        )

    def _retire(self, pid: str) -> None:
        counter = self._counted.pop(pid)
        read, written = counter.total()
        self._gone = (self._gone[0] + read, self._gone[1] + written)
        counter.close()

    def _name(self, pid: str) -> str:
        try:
            return (self._proc / pid / "comm").read_text(errors="replace").strip()
        except OSError:
            return ""

    def _parent(self, pid: str) -> str:
        try:
            text = (self._proc / pid / "stat").read_text(errors="replace")
        except OSError:
            return ""
        words = text.rpartition(")")[2].split()
        return words[1] if len(words) > 1 else ""


class _Counter:
    """One process's io file, kept open; after its end the last reading stays.

    old: it ran before we looked, so only what comes now counts; else what it did before counts
    too, but for a login's worth.
    """

    def __init__(self, process: Path, *, old: bool) -> None:
        self._fd: Optional[int] = None
        self._last: Tuple[int, int] = (0, 0)
        self._base: Tuple[int, int] = (0, 0)
        # the thread's own file: a process's includes all that its ended children ever moved
        path = process / "task" / process.name / "io"
        try:
            self._fd = os.open(str(path), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return
        self.step()
        read, written = self._last
        self._base = (read, written) if old else (min(read, _LOGIN[0]), min(written, _LOGIN[1]))

    def step(self) -> bool:
        """Read it now; False when that may not be."""
        if self._fd is None:
            return False
        try:
            lines = os.pread(self._fd, 512, 0).split(b"\n")
        except OSError:
            return False
        found = dict(line.split(b": ", 1) for line in lines if b": " in line)
        self._last = (int(found.get(b"rchar", b"0")), int(found.get(b"wchar", b"0")))
        return True

    def total(self) -> Tuple[int, int]:
        return (
            max(0, self._last[0] - self._base[0]),
            max(0, self._last[1] - self._base[1]),
        )

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

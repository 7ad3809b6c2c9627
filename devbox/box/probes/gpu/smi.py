"""GPUs through nvidia-smi, where pynvml is missing: one long-lived child that prints every second.

Starting nvidia-smi costs 7-640 ms, so the plain query runs once with `-l 1`; the process list,
which prints nothing at all while no process runs, is asked by short calls, the slower the rarer.
Nothing here waits for a child.
"""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import suppress
from typing import Callable, Dict, List, Optional, Sequence

from devbox.box.probes.gpu import MAX_PROCESSES, PROCESS_EVERY, STALE, Process, Reading, Row, Source
from devbox.box.probes.gpu.csv import FIELDS, INVALID, LOST, parse_gpu, parse_process, without
from devbox.box.probes.gpu.csv import row as row_of

_SILENT = 15.0  # seconds without a row after which the child is taken for hung
_MAX_BACKOFF = 60.0
_MAX_LINE = 65536  # bytes
_MAX_READ = 1 << 20  # at one time, so that a program that prints without end cannot hold us
_NO_GPU = "No devices were found"


class Smi(Source):
    """program: path of nvidia-smi. clock: seconds that only go forward."""

    name = "nvidia-smi"

    def __init__(self, program: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._program, self._clock = program, clock
        self._fields = list(FIELDS)
        self._child: Optional[Child] = None
        self._dying: List[Child] = []
        self._start_at, self._backoff = float("-inf"), 1.0
        self._heard = 0.0
        self._rows: Dict[int, Row] = {}
        self._heard_row: Dict[int, float] = {}
        self._none = False
        self._lost_at = float("-inf")
        self._processes = _Processes(program, self._dying)

    def read(self, now: float) -> Reading:
        at = self._clock()
        self._dying[:] = [child for child in self._dying if child.is_alive()]
        self._tend(at)
        if self._rows:
            self._processes.tend(at)
        if self._none:
            return []
        return [self._row(index, at) for index in sorted(self._rows)] or None

    def close(self) -> None:
        for child in (self._child, self._processes.child, *self._dying):
            if child:
                child.end(patience=1.0)
        self._child = self._processes.child = None

    def _tend(self, at: float) -> None:
        """Start, read, replace the long-lived child."""
        if self._child is None:
            # a child that outlives its SIGKILL hangs in the driver: another one would too
            if at >= self._start_at and not self._dying:
                query = "--query-gpu=" + ",".join(self._fields)
                self._child = Child(
                    [self._program, query, "--format=csv,noheader,nounits", "-l", "1"]
                )
                self._heard = at
            return
        alive = self._child.is_alive()  # asked first: what it printed last is read below
        for line in self._child.lines():
            self._take(line, at)
        if not alive or at - self._heard > _SILENT:
            self._child.end()
            self._dying.append(self._child)
            self._child = None
            self._start_at = at + self._backoff
            self._backoff = min(_MAX_BACKOFF, self._backoff * 2)

    def _take(self, line: str, at: float) -> None:
        row = parse_gpu(line, self._fields)
        if row is not None and (index := row["index"]) is not None:
            self._rows[index], self._heard_row[index] = row, at
            self._heard, self._backoff, self._none = at, 1.0, False
        elif INVALID.search(line):  # an older driver does not know a field: ask without it
            self._fields = without(self._fields, line)
            self._backoff = 0.0 if self._fields else _MAX_BACKOFF
        elif LOST in line:  # of one GPU, whose name is a bus address; nothing else is printed then
            self._lost_at = at
        elif _NO_GPU in line:
            self._none, self._backoff = True, _MAX_BACKOFF

    def _row(self, index: int, at: float) -> Row:
        row = self._rows[index]
        if at - self._heard_row[index] > STALE:
            # of several GPUs the line does not say which: none of them is called lost then
            lost = len(self._rows) == 1 and at - self._lost_at <= 2 * _MAX_BACKOFF
            row = {
                **row_of({}, lost=lost),
                "index": index,
                "uuid": row["uuid"],
                "name": row["name"],
                "mem_total": row["mem_total"],
                "mig": row["mig"],
            }
        return {**row, "processes": self._processes.of(str(row["uuid"]))}


class _Processes:
    """The process lists, from one short call at a time."""

    def __init__(self, program: str, dying: List[Child]) -> None:
        query = "--query-compute-apps=gpu_uuid,pid,used_memory,process_name"
        self._argv = [program, query, "--format=csv,noheader,nounits"]
        self._dying = dying
        self._lists: Optional[Dict[str, List[Process]]] = None
        self._lines: List[str] = []
        self._begun, self._next = 0.0, float("-inf")
        self.child: Optional[Child] = None

    def of(self, uuid: str) -> Optional[List[Process]]:
        """Processes of one GPU, largest first; None while unknown."""
        return None if self._lists is None else self._lists.get(uuid, [])

    def tend(self, at: float) -> None:
        if self.child is None:
            if at >= self._next and not self._dying:
                self.child, self._begun, self._lines = Child(self._argv), at, []
            return
        alive = self.child.is_alive()
        self._lines += self.child.lines()
        took = at - self._begun
        if alive and took <= _SILENT:
            return
        ended_well = self.child.code() == 0
        self.child.end()
        self._dying.append(self.child)
        self.child = None
        self._next = at + max(PROCESS_EVERY, 30 * (took - 1)) if ended_well else at + _MAX_BACKOFF
        self._lists = self._group() if ended_well else None

    def _group(self) -> Dict[str, List[Process]]:
        lists: Dict[str, List[Process]] = {}
        for line in self._lines:
            found = parse_process(line)
            if found and len(lists.setdefault(found[0], [])) < MAX_PROCESSES:
                lists[found[0]].append(found[1])
        for rows in lists.values():
            rows.sort(key=lambda row: -(row["mem_used"] or 0))
        return lists


class Child:
    """A program whose output is read without ever waiting. It starts at once, and writes into our
    pipe, so one that prints ends when we are gone."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._rest = b""
        self._process: Optional[subprocess.Popen[bytes]] = None
        with suppress(OSError):  # the program vanished: it shows as a child that is not alive
            self._process = subprocess.Popen(
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**os.environ, "LC_ALL": "C"},
            )
        if self._process and self._process.stdout:
            os.set_blocking(self._process.stdout.fileno(), False)

    def lines(self) -> List[str]:
        """Complete lines that have arrived; the last, unended one too once the child is gone."""
        if self._process is None or self._process.stdout is None:
            return []
        ended = self._process.poll() is not None
        with suppress(BlockingIOError):
            chunk = b"-"
            while chunk and len(self._rest) < _MAX_READ:
                chunk = os.read(self._process.stdout.fileno(), 65536)
                self._rest += chunk
        *whole, self._rest = self._rest.split(b"\n")
        if ended or len(self._rest) > _MAX_LINE:
            whole.append(self._rest)
            self._rest = b""
        return [line.decode("utf-8", "replace") for line in whole if line.strip()]

    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def code(self) -> Optional[int]:
        """Exit code; None while it runs or when it never started."""
        return None if self._process is None else self._process.poll()

    def end(self, patience: float = 0.0) -> None:
        """Kill it, and wait at most `patience` seconds for it to be gone."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.kill()
        if self._process.stdout:
            self._process.stdout.close()
        if patience:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(patience)

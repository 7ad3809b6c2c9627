"""One sample of the box: what every part of it does now (devbox.wire.messages.Sample).

A reading takes well under a millisecond of CPU time without GPUs, and never blocks: what may hang
is read on threads of its own or from children.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Dict, List, Optional

from devbox.box import json_file
from devbox.box.json_file import number
from devbox.box.probes import gpu
from devbox.box.probes.system import Part, Probe, probes
from devbox.box.probes.system.process_list import ProcessList
from devbox.box.probes.system.ssh import SshTraffic
from devbox.box.runs import folder
from devbox.wire import codec

_LOOK_EVERY = 2.0  # seconds between looks for running jobs


class Sampler:
    """Takes samples; `boot` names this run of it and `seq` counts from 1.

    root: the box half's folder. disk: a path on the file system whose fill is reported (default:
    root's). gpus: where GPU readings come from (default: the best source the box has; finding it
    may take seconds where the driver has to wake a GPU).
    """

    def __init__(
        self, root: Path, *, disk: Optional[Path] = None, gpus: Optional[gpu.Source] = None
    ) -> None:
        self.boot = os.urandom(6).hex()
        self.seq = 0
        self._probes = probes(disk or root)
        self._ssh = SshTraffic(root)
        self._work = Work()
        self._processes = ProcessList()
        self._gpus = gpus if gpus is not None else gpu.detect()

    def sample(self, now: float) -> Dict[str, object]:
        """The sample at unix time `now`. Call it about once a second: rates are since the last."""
        self.seq += 1
        processes = self._processes.read(now)
        return {
            "v": codec.VERSION,
            "boot": self.boot,
            "seq": self.seq,
            "t": round(now, 3),
            **{name: _read(probe, now) for name, probe in self._probes.items()},
            "ssh": _read(self._ssh.read, now),
            **self._work.read(now),
            "gpus": self._gpus.read(now),
            **({} if processes is None else {"processes": processes}),
        }

    def close(self) -> None:
        """End what was started for the samples (nvidia-smi)."""
        self._gpus.close()


def _read(probe: Probe, now: float) -> Optional[Part]:
    """A part that cannot be read now is None; the others are still told."""
    try:
        return probe(now)
    except (OSError, ValueError):
        return None


class Work:
    """What runs right now, asked every other second: jobs, and the requests of services. A service
    is among the jobs until it was ready once; a run that is queued is among those that wait, and
    one that has rounds while it has none to work on. requests: those that were taken since this
    sampler began, or before it by services that run; None before the first service. in_flight: None
    while there is no service."""

    def __init__(self) -> None:
        self._looked_at = float("-inf")
        self._jobs: List[str] = []
        self._waiting: List[str] = []
        self._counts: Dict[str, int] = {}
        self._requests: Optional[int] = None
        self._in_flight: Optional[int] = None

    def read(self, now: float) -> Dict[str, object]:
        if not 0 <= now - self._looked_at < _LOOK_EVERY:
            self._looked_at = now
            self._look([folder.RunFolder(name) for name in folder.active()])
        parts = (self._requests, self._in_flight, self._jobs, self._waiting)
        return dict(zip(("requests", "in_flight", "jobs", "waiting"), parts))

    def _look(self, active: List[folder.RunFolder]) -> None:
        serving = {run.id for run in active if run.serving_mark.exists()}
        self._waiting = [
            run.id for run in active if run.waiting_mark.exists() or run.queued.exists()
        ]
        self._jobs = [run.id for run in active if run.id not in {*serving, *self._waiting}]
        counts: Dict[str, int] = {}
        in_flight = 0
        for run in active:
            found = json_file.read(run.served) or {}
            count, now_open = number(found.get("count")), number(found.get("in_flight"))
            if count is not None:
                counts[run.id] = int(count)
                in_flight += int(now_open or 0)
        for name, count in counts.items():  # one that fell began again
            before = self._counts.get(name, 0)
            grown = count - before if count >= before else count
            self._requests = (self._requests or 0) + grown
        self._counts = counts
        if serving and self._requests is None:
            self._requests = 0  # a program of the user's need not count
        self._in_flight = in_flight if counts or serving else None

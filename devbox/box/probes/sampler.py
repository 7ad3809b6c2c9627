"""One sample of the box: what every part of it does now (devbox.wire.messages.Sample).

A reading takes well under a millisecond of CPU time without GPUs, and never blocks: what may hang
is read on threads of its own or from children.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Dict, List, Optional

from devbox.box.json_file import number
from devbox.box.probes import gpu
from devbox.box.probes.system import Probe, probes
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
        self._root = root
        self._probes = probes(disk or root)
        self._ssh = SshTraffic(root)
        self._jobs = Jobs()
        self._gpus = gpus if gpus is not None else gpu.detect()

    def sample(self, now: float) -> Dict[str, Any]:
        """The sample at unix time `now`. Call it about once a second: rates are since the last."""
        self.seq += 1
        return {
            "v": codec.VERSION,
            "boot": self.boot,
            "seq": self.seq,
            "t": round(now, 3),
            **{name: _read(probe, now) for name, probe in self._probes.items()},
            "ssh": _read(self._ssh.read, now),
            "requests": requests(self._root),
            "jobs": self._jobs.read(now),
            "gpus": self._gpus.read(now),
        }

    def close(self) -> None:
        """End what was started for the samples (nvidia-smi)."""
        self._gpus.close()


def _read(probe: Probe, now: float) -> Optional[Dict[str, Any]]:
    """A part that cannot be read now is None; the others are still told."""
    try:
        return probe(now)
    except (OSError, ValueError):
        return None


class Jobs:
    """Ids of the runs that run right now, asked every other second."""

    def __init__(self) -> None:
        self._looked_at = float("-inf")
        self._active: List[str] = []

    def read(self, now: float) -> List[str]:
        if not 0 <= now - self._looked_at < _LOOK_EVERY:
            self._looked_at = now
            self._active = folder.active()
        return self._active


def requests(root: Path) -> Optional[int]:
    """The cumulative count in served.json; None when nothing serves here."""
    try:
        found = json.loads((root / "served.json").read_bytes()[:4096])
    except (OSError, ValueError, RecursionError):
        return None
    count = number(found.get("count")) if isinstance(found, dict) else None
    return None if count is None else int(count)

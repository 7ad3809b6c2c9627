"""GPUs of a box: NVML where pynvml is installed, else a running nvidia-smi, else none.

A source's `read(now)` gives the "gpus" part of a sample (devbox.wire.messages.Sample): a list, one
object a GPU, empty when there is none; None while it is not known. It never blocks for long.
"""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING, List, Optional, TypedDict

from devbox.box.with_timeout import Detached

if TYPE_CHECKING:
    from devbox.box.probes.gpu.nvml import Api


class Process(TypedDict):
    """mem_used: bytes of GPU memory; None where the driver does not tell."""

    pid: int
    name: Optional[str]
    mem_used: Optional[int]


class Row(TypedDict, total=False):
    """One GPU (devbox.wire.messages.Gpu). A source gives all keys, and None for what it does not
    know."""

    index: Optional[int]
    uuid: Optional[str]
    name: Optional[str]
    util: Optional[int]
    mem_util: Optional[int]
    mem_used: Optional[int]
    mem_total: Optional[int]
    power_w: Optional[float]
    power_limit_w: Optional[float]
    temp_c: Optional[int]
    sm_mhz: Optional[int]
    mem_mhz: Optional[int]
    throttle: Optional[List[str]]
    ecc_errors: Optional[int]
    mig: Optional[bool]
    lost: Optional[bool]
    xid: Optional[int]
    processes: Optional[List[Process]]


Reading = Optional[List[Row]]

PROCESS_EVERY = 5.0  # seconds between process lists: they cost 50 times a plain reading
STALE = 5.0  # seconds after which a value that stopped coming is None
MAX_PROCESSES = 64  # per GPU
_WSL_SMI = "/usr/lib/wsl/lib/nvidia-smi"
_OPEN_PATIENCE = 10.0  # seconds; without persistence mode the driver wakes the GPU first


class Source:
    """No GPU; the base of the real ones."""

    name = "none"

    def read(self, now: float) -> Reading:
        return []

    def close(self) -> None:
        """End what the source started."""


class Detachment(Source):
    """NVML asked on a thread of its own, so that a hung driver cannot hang the watchdog."""

    name = "nvml"

    def __init__(self, api: "Api") -> None:
        from devbox.box.probes.gpu.nvml import Nvml

        self._nvml = Nvml(api)
        self._now = 0.0
        self._reading = Detached(lambda: self._nvml.read(self._now), patience=0.1, stale=STALE)
        opening = Detached(self._nvml.open, patience=_OPEN_PATIENCE, stale=float("inf"))
        self.usable = opening.get(0.0) is not False

    def read(self, now: float) -> Reading:
        self._now = now
        return self._reading.get(now)


def look(source: Source, patience: float) -> Reading:
    """One reading of a source, which may need a moment for its first; None when it does not tell
    within `patience` seconds."""
    deadline = time.monotonic() + patience
    while True:
        rows = source.read(time.time())
        if rows is not None or time.monotonic() > deadline:
            return rows
        time.sleep(0.05)


def detect() -> Source:
    """The best source of this box."""
    try:
        import pynvml
    except ImportError:
        pynvml = None
    if pynvml is not None:
        found = Detachment(pynvml)
        if found.usable:
            return found
    program = shutil.which("nvidia-smi") or (_WSL_SMI if os.path.exists(_WSL_SMI) else None)
    if program:
        from devbox.box.probes.gpu.smi import Smi

        return Smi(program)
    return Source()

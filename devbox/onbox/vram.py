"""The most GPU memory a run held, as far as this box lets us see it."""

from __future__ import annotations

import os
import threading
import time
from typing import Any, Collection, Dict, List, Optional

from devbox.onbox import gpu, procs

_EVERY = 2.0  # seconds between readings
_NOISE = 64 << 20  # bytes; device memory moves by less than this without anybody's doing


class PeakVram:
    """Fed with the run's pids. source: "process" where the driver names our processes; "work"
    where the work measured itself (torch); "device" where a container hides pids from the
    driver: then it is how far the GPUs' use rose above its value at the start."""

    def __init__(self) -> None:
        self.peak: Optional[int] = None
        self.source: Optional[str] = None
        self._base: Optional[int] = None

    def feed(self, gpus: List[Dict[str, Any]], pids: Collection[int]) -> None:
        """gpus: the part of that name of a sample (devbox.onbox.wire)."""
        if not gpus:
            return
        listed = [row for card in gpus for row in card.get("processes") or ()]
        ours = [row["mem_used"] or 0 for row in listed if row["pid"] in pids]
        used = sum(card.get("mem_used") or 0 for card in gpus)
        self._base = used if self._base is None else min(self._base, used)
        if ours:
            self._raise(sum(ours), "process")
        elif self.source != "process" and not any(_is_here(row["pid"]) for row in listed):
            rise = used - self._base
            if rise > _NOISE:
                self._raise(rise, "device")

    def measured(self, vram: Optional[int]) -> None:
        """The work's own measure of its peak."""
        if vram is not None:
            self._raise(vram, "work")

    def _raise(self, value: int, source: str) -> None:
        # A guess from the whole device gives way to anything that is about us.
        if self.source == "device" and source != "device":
            self.peak = None
        if self.peak is None or value > self.peak:
            self.peak, self.source = value, source


def total(patience: float = 5.0) -> Optional[int]:
    """Bytes of GPU memory of this box, all GPUs together; 0 without a GPU, None when the driver
    does not tell within `patience` seconds."""
    source = gpu.detect()
    try:
        deadline = time.monotonic() + patience
        while True:
            cards = source.read(time.time())
            if cards is not None:
                sizes = [card.get("mem_total") for card in cards]
                return None if None in sizes else sum(size or 0 for size in sizes)
            if time.monotonic() > deadline:
                return None
            time.sleep(0.05)
    finally:
        source.close()


class GpuReader:
    """Reads the GPUs on a thread of its own: opening a driver may take many seconds."""

    def __init__(self) -> None:
        self.latest: List[Dict[str, Any]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self, patience: float = 2.0) -> None:
        """End it and what it started; a hung driver is left behind after `patience` seconds."""
        self._stop.set()
        self._thread.join(patience)

    def _run(self) -> None:
        source = gpu.detect()
        try:
            while source.name != "none" and not self._stop.is_set():
                self.latest = source.read(time.time()) or []
                self._stop.wait(_EVERY)
        finally:
            source.close()


def _is_here(pid: int) -> bool:
    """The driver's pid is one we could see: then it is somebody else, not us in a container."""
    return pid != os.getpid() and procs.identity(pid) is not None

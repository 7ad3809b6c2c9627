"""The most GPU memory a run held, as far as this box lets us see it."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Collection, Dict, List, Literal, Optional, Union

from devbox.box import processes
from devbox.box.probes import gpu
from devbox.box.probes.system import probes
from devbox.box.runs import devices

Source = Literal["process", "work", "device"]
_EVERY = 2.0  # seconds between readings
_NOISE = 64 << 20  # bytes; device memory moves by less than this without anybody's doing


class PeakVram:
    """Fed with the run's pids. source: "process" where the driver names our processes; "work"
    where the work measured itself (torch); "device" where a container hides pids from the
    driver: then it is how far the GPUs' use rose above its value at the start."""

    def __init__(self) -> None:
        self.peak: Optional[int] = None
        self.source: Optional[Source] = None
        self._least: Dict[Union[str, int, None], int] = {}

    def feed(self, gpus: List[gpu.Row], pids: Collection[int]) -> None:
        """gpus: the part of that name of a sample (devbox.wire.messages)."""
        if not gpus:
            return
        listed = [row for card in gpus for row in card.get("processes") or ()]
        ours = [row["mem_used"] for row in listed if row["pid"] in pids]
        known = [size for size in ours if size is not None]
        rise = sum(self._rise(card) for card in gpus)
        if known:
            self._raise(sum(known), "process")
        elif (
            rise > _NOISE
            and self.source != "process"
            and not any(_is_here(row["pid"]) for row in listed)
        ):
            self._raise(rise, "device")

    def _rise(self, card: gpu.Row) -> int:
        """How far one GPU's use is above its least; one that does not tell adds nothing."""
        used, key = card.get("mem_used"), card.get("uuid") or card.get("index")
        if used is None:
            return 0
        self._least[key] = min(int(used), self._least.get(key, int(used)))
        return int(used) - self._least[key]

    def measured(self, vram: Optional[int]) -> None:
        """The work's own measure of its peak."""
        if vram is not None:
            self._raise(vram, "work")

    def _raise(self, value: int, source: Source) -> None:
        # A guess from the whole device gives way to anything that is about us.
        if self.source == "device" and source != "device":
            self.peak = None
        if self.peak is None or value > self.peak:
            self.peak, self.source = value, source


def total(patience: float = 5.0) -> Optional[int]:
    """Bytes of GPU memory of this box, all GPUs together, or those this run was given; 0 without
    one, None when the driver does not tell within `patience` seconds. GPUs that do not tell add
    nothing to those that do; where none tells, they share the machine's memory, and that is it."""
    source = gpu.detect()
    try:
        cards = gpu.look(source, patience)
    finally:
        source.close()
    if cards is None:
        return None
    cards = devices.given(cards, os.environ.get(devices.VARIABLE, "").split(","))
    sizes = [card.get("mem_total") for card in cards]
    known = [int(size) for size in sizes if size is not None]
    return sum(known) if known or not cards else _shared(cards)


def _shared(cards: List[gpu.Row]) -> Optional[int]:
    """The machine's memory, when one of these GPUs works and so uses it; None for lost ones."""
    works = any(card.get(key) is not None for card in cards for key in ("util", "temp_c"))
    memory = probes(Path("/"))["mem"](time.time()) if works else None
    total = (memory or {}).get("total")
    return total if isinstance(total, int) else None


class GpuReader:
    """Reads the GPUs on a thread of its own: opening a driver may take many seconds."""

    def __init__(self) -> None:
        self.latest: List[gpu.Row] = []
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
    """The driver's pid is one we could see: then it is someone else, not us in a container."""
    return pid != os.getpid() and processes.identity(pid) is not None

"""Hardware and prices: live from the workspace's billing rates, else from the dated catalogue.

A sandbox costs its GPUs, its CPU cores and its memory; every price here is their sum for the
reservation that devbox asks for. Memory that programs use above the reservation costs more, at
the same rate; CPU is capped at the reservation.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import msgspec

from devbox import paths
from devbox.errors import DevboxError, UsageError
from devbox.files import write_atomic
from devbox.model import Hardware, Offer, Price
from devbox.spec import BoxSpec
from devbox.text import clean, duration

CPU = "cpu"
_FRESH = 3600.0
_GIB = 1024**3
_COUNTS = (1, 2, 4, 8)
_CATALOGUE = Path(__file__).with_name("catalogue.json")
_CPU_BOX = (2.0, 4)  # cores, GiB of a box without a GPU
_GPU_BOX = (4.0, 16)  # cores, GiB for each GPU
_NOTE = "CPU and memory included; memory used above the reservation costs extra"


class Size(NamedTuple):
    """What is reserved. hardware: `cpu`, or Modal's GPU name with `:COUNT` when above one."""

    hardware: str
    cores: float
    mib: int

    @property
    def gpu(self) -> str:
        return "" if self.hardware == CPU else self.hardware.partition(":")[0]

    @property
    def gpus(self) -> int:
        return int(self.hardware.partition(":")[2] or 1) if self.gpu else 0


class _Gpu(msgspec.Struct):
    name: str
    dollars: float
    vram_gb: int
    most: int


class _Cpu(msgspec.Struct):
    date: str
    core: float
    gib: float


class _Catalogue(msgspec.Struct):
    source: str
    date: str
    cpu: _Cpu
    gpus: list[_Gpu]


class _Kept(msgspec.Struct):
    """Live rates. dollars: resource → dollars a second."""

    at: float
    dollars: dict[str, float]


def size_of(hardware: str, wanted: BoxSpec) -> Size:
    """The reservation for hardware: what the spec says, else a default that fits it."""
    count = int(hardware.partition(":")[2] or 1) if hardware != CPU else 1
    cores, gib = _CPU_BOX if hardware == CPU else _GPU_BOX
    mib = wanted.memory // 1024**2 or gib * 1024 * count
    return Size(hardware, wanted.cpu or cores * count, int(mib))


class Rates:
    """Prices of one workspace. ask: the live rates, resource → dollars a second. key: names the
    workspace in the cache. clock: () → unix seconds."""

    def __init__(
        self,
        ask: Callable[[], dict[str, Decimal]],
        key: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ask, self._key, self._clock = ask, key, clock
        self._lock = threading.Lock()
        self._catalogue = msgspec.json.decode(_CATALOGUE.read_bytes(), type=_Catalogue)

    def offers(self, wanted: BoxSpec) -> list[Offer]:
        """All hardware, priced with the spec's CPU and memory. Without a live answer the last one
        with its age, else the catalogue with its date."""
        kept = self._fresh()
        now = self._clock()
        names = [(CPU, Hardware(CPU))]
        for gpu in self._catalogue.gpus:
            for count in _COUNTS:
                if count <= gpu.most:
                    name = gpu.name if count == 1 else f"{gpu.name}:{count}"
                    vram = gpu.vram_gb * count * _GIB
                    names.append((name, Hardware(name, gpu.name, count, vram)))
        offers = []
        for name, hardware in names:
            size = size_of(name, wanted)
            micro, live = self._micro(size, kept)
            source, at = self._source(live, kept, now)
            whole = msgspec.structs.replace(hardware, cpus=size.cores, memory=size.mib * 1024**2)
            offers.append(Offer("modal", whole, Price(micro, source), at, _NOTE))
        return offers

    def price(self, size: Size) -> Price:
        """What a reservation costs, from what was last heard."""
        kept = self._fresh()
        micro, live = self._micro(size, kept)
        return Price(micro, self._source(live, kept, self._clock())[0])

    def check(self, hardware: str) -> str:
        """The name itself when Modal offers it."""
        gpu, _, count = hardware.partition(":")
        known = {each.name: each.most for each in self._catalogue.gpus}
        if hardware == CPU or (
            gpu in known and (not count or (count.isdecimal() and 1 <= int(count) <= known[gpu]))
        ):
            return hardware
        raise UsageError(
            f"Modal has no hardware {clean(hardware, 40)!r}",
            fix=f"use cpu, or one of {', '.join(known)}, with :COUNT for several",
        )

    def _micro(self, size: Size, kept: _Kept | None) -> tuple[int, bool]:
        """Micro-dollars an hour, and whether every part of it is live."""
        live = True
        total = 0.0
        parts = [("cpu", size.cores), ("memory", size.mib / 1024)]
        for part, amount in parts + ([(size.gpu, float(size.gpus))] if size.gpu else []):
            rate = kept.dollars.get(part) if kept else None
            live = live and rate is not None
            total += amount * (self._listed(part) if rate is None else rate)
        return round(total * 3600 * 1_000_000), live

    def _listed(self, part: str) -> float:
        """The catalogue's dollars a second."""
        if part == "cpu":
            return self._catalogue.cpu.core
        if part == "memory":
            return self._catalogue.cpu.gib
        return next(each.dollars for each in self._catalogue.gpus if each.name == part)

    def _source(self, live: bool, kept: _Kept | None, now: float) -> tuple[str, float]:
        if live and kept:
            age = max(0.0, now - kept.at)
            return ("live" if age < _FRESH else f"cached {duration(age)}"), kept.at
        date = self._catalogue.date
        return f"catalogue {date}", datetime.fromisoformat(date).replace(tzinfo=UTC).timestamp()

    def _fresh(self) -> _Kept | None:
        """Rates of the last hour; older ones when Modal cannot be asked; None for none."""
        with self._lock:
            kept = self._read()
            now = self._clock()
            if kept and 0 <= now - kept.at < _FRESH:
                return kept
            try:
                kept = _Kept(now, self._named(self._ask()))
            except DevboxError:
                # why: prices that say how old they are serve better than none, also to a person
                # who compares without an account.
                return kept
            write_atomic(self._file(), msgspec.json.encode(kept))
            return kept

    def _named(self, said: dict[str, Decimal]) -> dict[str, float]:
        """Modal does not document what it calls each resource: compare letters and digits only,
        and prefer the sandboxes' own CPU and memory where those are named."""
        plain = {re.sub(r"[^a-z0-9]", "", name.lower()): float(v) for name, v in said.items()}
        wanted: dict[str, tuple[str, ...]] = {
            "cpu": ("sandboxcpu", "cpusandbox", "cpu", "cpucore", "cpucores"),
            "memory": ("sandboxmemory", "memorysandbox", "memory", "memorygib", "mem"),
        }
        for gpu in self._catalogue.gpus:
            name = re.sub(r"[^a-z0-9]", "", gpu.name.lower())
            wanted[gpu.name] = (name, f"gpu{name}", f"nvidia{name}")
        found = {}
        for part, names in wanted.items():
            value = next((plain[name] for name in names if name in plain), None)
            if value is not None and 0 < value < 1:
                found[part] = value
        return found

    def _read(self) -> _Kept | None:
        try:
            return msgspec.json.decode(self._file().read_bytes(), type=_Kept)
        except (OSError, msgspec.DecodeError):
            return None

    def _file(self) -> Path:
        digest = hashlib.sha256(self._key.encode()).hexdigest()[:12]
        return paths.cache_dir() / f"modal-rates-{digest}.json"

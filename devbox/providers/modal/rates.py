"""Hardware and prices: live from the workspace's billing rates, else from the dated catalogue.

The rates come as dollars an hour (a GiB-hour for memory) under names such as `gpu_hour_cost_t4`,
as public users have printed them; Modal documents neither. The unit is therefore taken from the
name, and a value far off the catalogue's is refused and told.

A sandbox costs its GPUs, its CPU cores and its memory; every price here is their sum for the
reservation that devbox asks for. Memory that programs use above the reservation costs more, at
the same rate; CPU is capped at the reservation.
"""

from __future__ import annotations

import hashlib
import itertools
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import msgspec

from devbox import paths
from devbox.described import described
from devbox.errors import DevboxError, UsageError
from devbox.files import write_atomic
from devbox.model import Hardware, Offer, Price
from devbox.providers.modal.sizes import CPU, PRICED_AS, Size, hardware_name, size_of
from devbox.spec import BoxSpec
from devbox.text import clean, duration

_FRESH, _NOW = 3600.0, 300.0
_GIB = 1024**3
_COUNTS = (1, 2, 4, 8)
_CATALOGUE = Path(__file__).with_name("catalogue.json")
_OFF = 5.0  # a live price further than this from the catalogue's is not believed
_CPU_KEY, _MEMORY_KEY = "cpu_hour_cost_sandbox", "mem_gib_hour_cost_sandbox"


class _Gpu(msgspec.Struct):
    """dollars: a second. rate: the name of its live price."""

    name: str
    dollars: float
    vram_gb: int
    most: int
    rate: str


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
    """Live rates. hourly: part → dollars an hour."""

    at: float
    hourly: dict[str, float]


class _Listed(NamedTuple):
    """A part of a price. key: what Modal calls its rate. hourly: the catalogue's dollars."""

    key: str
    hourly: float


class Rates:
    """Prices of one workspace. ask: the live rates, Modal's name of a resource → dollars. key:
    names the workspace in the cache. clock: () → unix seconds. tell: hears of rates that were
    refused."""

    def __init__(
        self,
        ask: Callable[[], dict[str, Decimal]],
        key: str,
        clock: Callable[[], float] = time.time,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._ask, self._key, self._clock, self._tell = ask, key, clock, tell
        self._lock = threading.Lock()
        self._catalogue = _catalogue()

    def offers(self, wanted: BoxSpec) -> list[Offer]:
        """All hardware, priced with the spec's CPU and memory. Without a live answer the last one
        with its age, else the catalogue with its date."""
        kept = self._fresh()
        now = self._clock()
        asked = hardware_name(wanted.first_hardware).partition(":")[0]
        offers = []
        for hardware in _hardware(self._catalogue, asked):
            size = size_of(hardware.name, wanted)
            micro, live = self._micro(size, kept)
            source, at = self._source(live, kept, now)
            whole = msgspec.structs.replace(hardware, cpus=size.cores, memory=size.mib * 1024**2)
            price = Price(micro, source)
            where = size.region, size.surcharge
            offers.append(Offer("modal", whole, price, at, _note(size), *where))
        return offers

    def price(self, size: Size) -> Price:
        """What a reservation costs now, which a sandbox keeps: from what was heard within minutes,
        else what was last heard."""
        kept = self._fresh(_NOW)
        micro, live = self._micro(size, kept)
        return Price(micro, self._source(live, kept, self._clock())[0])

    def check(self, asked: str) -> str:
        """Modal's own name of the hardware. UsageError when it offers none of that name."""
        hardware = hardware_name(asked)
        gpu, _, count = hardware.partition(":")
        known = {each.name: each.most for each in self._catalogue.gpus}
        most = known.get(PRICED_AS.get(gpu, gpu), 0)
        if hardware == CPU or (
            most and (not count or (count.isdecimal() and 1 <= int(count) <= most))
        ):
            return hardware
        raise UsageError(
            f"Modal has no hardware {clean(asked, 40)!r}",
            fix=f"use cpu, or one of {', '.join(known)}, with :COUNT for several",
        )

    def _micro(self, size: Size, kept: _Kept | None) -> tuple[int, bool]:
        """Micro-dollars an hour, and whether every part of it is live."""
        live = True
        total = 0.0
        parts = [(CPU, size.cores), ("memory", size.mib / 1024)]
        gpu = PRICED_AS.get(size.gpu, size.gpu)
        for part, amount in parts + ([(gpu, float(size.gpus))] if gpu else []):
            rate = kept.hourly.get(part) if kept else None
            live = live and rate is not None
            total += amount * (self._listed[part].hourly if rate is None else rate)
        return round(total * size.surcharge * 1_000_000), live

    @cached_property
    def _listed(self) -> dict[str, _Listed]:
        """What the catalogue says of each part of a price."""
        cpu = self._catalogue.cpu
        return {
            CPU: _Listed(_CPU_KEY, cpu.core * 3600),
            "memory": _Listed(_MEMORY_KEY, cpu.gib * 3600),
            **{each.name: _Listed(each.rate, each.dollars * 3600) for each in self._catalogue.gpus},
        }

    def _source(self, live: bool, kept: _Kept | None, now: float) -> tuple[str, float]:
        if live and kept:
            age = max(0.0, now - kept.at)
            return ("live" if age < _FRESH else f"cached {duration(age)}"), kept.at
        date = self._catalogue.date
        return f"catalogue {date}", datetime.fromisoformat(date).replace(tzinfo=UTC).timestamp()

    def _fresh(self, age: float = _FRESH) -> _Kept | None:
        """Rates that are younger than `age`; older ones when Modal cannot be asked; None for
        none."""
        with self._lock:
            kept = self._read()
            now = self._clock()
            if kept and 0 <= now - kept.at < age:
                return kept
            try:
                kept = _Kept(now, self._believed(self._ask()))
            except DevboxError:
                # why: prices that say how old they are serve better than none, also to a user
                # who compares without an account.
                return kept
            write_atomic(self._file(), msgspec.json.encode(kept))
            return kept

    def _believed(self, said: dict[str, Decimal]) -> dict[str, float]:
        """Part → dollars an hour, of the rates that are there and near the catalogue's."""
        found = {}
        for part, listed in self._listed.items():
            value = said.get(listed.key)
            if value is None:
                continue
            if value.is_finite() and listed.hourly / _OFF <= value <= listed.hourly * _OFF:
                found[part] = float(value)
            else:
                self._tell(
                    f"Modal's price {listed.key} = {clean(str(value), 40)} is far from the "
                    f"catalogue's ${listed.hourly:.4g}/h ({self._catalogue.date}) and is not used"
                )
        return found

    def _read(self) -> _Kept | None:
        try:
            return msgspec.json.decode(self._file().read_bytes(), type=described(_Kept))
        except (OSError, msgspec.DecodeError):
            return None

    def _file(self) -> Path:
        digest = hashlib.sha256(self._key.encode()).hexdigest()[:12]
        return paths.cache_dir() / f"modal-rates-{digest}.json"


def catalogue(_: str) -> list[Hardware]:
    """All of the dated catalogue."""
    return _hardware(_catalogue())


def _catalogue() -> _Catalogue:
    return msgspec.json.decode(_CATALOGUE.read_bytes(), type=described(_Catalogue))


def _hardware(listed: _Catalogue, asked: str = "") -> list[Hardware]:
    """asked: another name of a GPU, which is listed too."""
    found = [Hardware(CPU)]
    for gpu in listed.gpus:
        called = [gpu.name] + [v for v, k in PRICED_AS.items() if k == gpu.name and v == asked]
        for each, count in itertools.product(called, _COUNTS):
            if count <= gpu.most:
                name = each if count == 1 else f"{each}:{count}"
                found.append(Hardware(name, gpu.name, count, gpu.vram_gb * count * _GIB))
    return found


def _note(size: Size) -> str:
    """What a user who compares has to know besides the price."""
    region = f"; region {size.region}: x{size.surcharge:g}" if size.region else ""
    return (
        f"CPU and memory included{region}; cpu counts physical cores ({size.cores:g} = "
        f"{size.cores * 2:g} vCPU); memory used above the reservation costs extra"
    )

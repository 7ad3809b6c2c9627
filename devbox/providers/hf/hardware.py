"""Hardware and prices: live, from an answer that may be an hour old where nothing is begun and five
minutes where something costs, else from the dated catalogue."""

from __future__ import annotations

import hashlib
import math
import re
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from devbox.described import described
from devbox.errors import DevboxError, ProviderError
from devbox.files import write_atomic
from devbox.model import Hardware, Offer, Price
from devbox.providers.hf import local_records
from devbox.providers.hf.hub import Hub
from devbox.text import brief, clean, parse_size

Kind = Literal["spaces", "jobs"]
FREE = "cpu-basic"
_FRESH = 3600.0
# Seconds for which a list is that of now (`renew`), and until one that did not come is asked for
# again.
_NOW, _AGAIN = 300.0, 60.0
# "Computed by the minute: you get charged for every minute" (public documentation of Spaces and
# Jobs). That a minute which has begun counts whole is not documented; it is the dearer reading.
_UNIT = 60
_EXPOSED = 10_000  # micro-dollars an hour that a Job with public ports costs more
_PER_HOUR = {"second": 3600, "minute": 60, "hour": 1}
_CATALOGUE = Path(__file__).with_name("catalogue.json")


class Row(msgspec.Struct, frozen=True):
    """One flavour. micro_per_hour None: its price is not known."""

    hardware: Hardware
    micro_per_hour: int | None


class _Kept(msgspec.Struct):
    at: float
    rows: list[Row]


class _Listed(msgspec.Struct):
    name: str
    dollars: float
    gpu: str = ""
    gpus: int = 0
    vram_gb: int = 0
    cpus: int = 0
    memory_gb: int = 0

    @property
    def hardware(self) -> Hardware:
        vram, memory = self.vram_gb * 1024**3, self.memory_gb * 1024**3
        return Hardware(self.name, self.gpu, self.gpus, vram, self.cpus, memory)


class _Catalogue(msgspec.Struct):
    source: str
    dates: dict[str, str]
    spaces: list[_Listed]
    jobs: list[_Listed]


class Rates:
    """What one kind of compute costs at one endpoint. provider: the name that offers carry."""

    def __init__(
        self, hub: Hub, kind: Kind, provider: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._hub, self._kind, self._provider, self._clock = hub, kind, provider, clock
        self._lock, self._asking = threading.Lock(), threading.Lock()
        self._memory: _Kept | None = None
        self._refused = -math.inf  # when the Hub was last asked and did not tell

    def offers(self) -> list[Offer]:
        """All flavours with prices. An answer of the last hour is used again; a failing Hub
        leaves the last answer with its age, else the catalogue with its date."""
        self._renew(_FRESH)
        now, kept = self._clock(), self._kept()
        if kept is None:
            return self._catalogued()  # why: dated prices serve better than none
        source = _source(now - kept.at)
        return [self._offer(row, source, kept.at) for row in kept.rows]

    def renew(self) -> bool:
        """Ask for the list as it is now; whether it came. One of the last minutes is that."""
        return self._renew(_NOW)

    def price(self, flavour: str) -> Price | None:
        """The price of a flavour, from an answer of the last hour, or the last one there was."""
        self.offers()
        kept = self._kept()
        for row in kept.rows if kept else ():
            if row.hardware.name == flavour:
                source = _source(self._clock() - kept.at) if kept else ""
                return Price(row.micro_per_hour, source, _UNIT)
        return None

    def _renew(self, age: float) -> bool:
        """Ask unless the answer that is kept is younger than `age`; whether a new one came."""
        with self._asking:
            now, kept = self._clock(), self._kept()
            if (kept and 0 <= now - kept.at < age) or 0 <= now - self._refused < _AGAIN:
                return False
            try:
                self._ask(now)
            except DevboxError:
                self._refused = now
                return False
            return True

    def _ask(self, now: float) -> None:
        answer = self._hub.public_list(
            f"listing the hardware of {self._kind}", f"/api/{self._kind}/hardware"
        )
        rows = [row for each in answer if (row := _row(each))]
        kept = _Kept(now, rows)
        if not rows:
            raise ProviderError(f"the Hub listed no hardware of {self._kind}")
        with self._lock:
            self._memory = kept
        write_atomic(self._file(), msgspec.json.encode(kept))

    def _kept(self) -> _Kept | None:
        with self._lock:
            if self._memory is None:
                try:
                    self._memory = msgspec.json.decode(
                        self._file().read_bytes(), type=described(_Kept)
                    )
                except (OSError, msgspec.DecodeError):
                    return None
            return self._memory

    def _catalogued(self) -> list[Offer]:
        found = _catalogue()
        date = found.dates[self._kind]
        at = datetime.fromisoformat(date).replace(tzinfo=UTC).timestamp()
        listed = found.spaces if self._kind == "spaces" else found.jobs
        return [
            self._offer(
                Row(each.hardware, round(each.dollars * 1_000_000)), f"catalogue {date}", at
            )
            for each in listed
        ]

    def _offer(self, row: Row, source: str, at: float) -> Offer:
        price = Price(row.micro_per_hour, source, _UNIT)
        return Offer(self._provider, row.hardware, price, at)

    def _file(self) -> Path:
        digest = hashlib.sha256(self._hub.endpoint.encode()).hexdigest()[:12]
        return local_records.folder() / f"hardware-{self._kind}-{digest}.json"


def catalogue(provider: str) -> list[Hardware]:
    """All of the dated catalogue, of the provider of that name."""
    found = _catalogue()
    return [each.hardware for each in (found.jobs if provider == "hf-job" else found.spaces)]


def _catalogue() -> _Catalogue:
    return msgspec.json.decode(_CATALOGUE.read_bytes(), type=described(_Catalogue))


def exposed(price: Price) -> Price:
    """The price of a Job with public ports: the Hub adds a cent an hour."""
    known = price.micro_per_hour
    more = None if known is None else known + _EXPOSED
    return Price(more, price.source, price.unit)


def has_gpu(flavour: str) -> bool:
    """By the dated catalogue. A flavour it lacks has one unless it is a `cpu-` one or none."""
    listed = _catalogue()
    known = {each.name: bool(each.gpu) for each in (*listed.spaces, *listed.jobs)}
    return known.get(flavour, bool(flavour) and not flavour.startswith("cpu"))


def _source(age: float) -> str:
    return "live" if age < 1 else f"cached {brief(age)}"


def _row(said: object) -> Row | None:
    """One row of the Hub's listing; None when it does not even have a usable name."""
    if not isinstance(said, dict):
        return None
    name = said.get("name")
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", name):
        return None
    chip = said.get("accelerator")
    chip = chip if isinstance(chip, dict) else {}
    unit, cost = _PER_HOUR.get(str(said.get("unitLabel"))), said.get("unitCostMicroUSD")
    known = unit is not None and isinstance(cost, (int, float)) and 0 <= cost < 10**12
    return Row(
        Hardware(
            name=name,
            gpu=clean(str(chip.get("model") or ""), 60),
            gpus=_count(chip.get("quantity")),
            vram=_size(chip.get("vram")),
            cpus=_count(said.get("cpu")),
            memory=_size(said.get("ram")),
            disk=_size(said.get("ephemeralStorage")),
        ),
        round(cost * unit) if known and unit and isinstance(cost, (int, float)) else None,
    )


def _count(said: object) -> int:
    """The number that text such as "8 vCPU" begins with; 0 for none."""
    found = re.match(r"\s*(\d{1,6})", str(said))
    return int(found[1]) if found else 0


def _size(said: object) -> int:
    try:
        return parse_size(str(said))
    except ValueError:
        return 0

"""What a sandbox reserves, and the names that Modal takes for hardware."""

from __future__ import annotations

from typing import NamedTuple

from devbox.spec import BoxSpec

CPU = "cpu"
_CPU_BOX = (2.0, 4)  # cores, GiB of a box without a GPU
_GPU_BOX = (4.0, 16)  # cores, GiB for each GPU
#: other names that Modal takes → the name its prices have (modal.com/docs/guide/gpu)
_ALIASES = {"A100": "A100-40GB", "A10G": "A10"}
#: requests that are priced as another: exactly an H100, or whichever of B200 and B300 is free
PRICED_AS = {"H100!": "H100", "B200+": "B200"}
_BROAD = frozenset({"us", "eu", "ap", "uk", "ca", "me", "sa", "af", "mx"})


class Size(NamedTuple):
    """What is reserved. hardware: `cpu`, or Modal's GPU name with `:COUNT` when above one.
    cores: physical ones, as Modal counts them. region: where, empty for anywhere."""

    hardware: str
    cores: float
    mib: int
    region: str = ""

    @property
    def gpu(self) -> str:
        return "" if self.hardware == CPU else self.hardware.partition(":")[0]

    @property
    def gpus(self) -> int:
        return int(self.hardware.partition(":")[2] or 1) if self.gpu else 0

    @property
    def surcharge(self) -> float:
        """What a region multiplies the price by (modal.com/docs/guide/region-selection): 1.5 for a
        broad one such as `us`, 1.75 for a narrow one such as `us-west`. One that is not known as
        broad counts as narrow."""
        if not self.region:
            return 1.0
        return 1.5 if self.region.lower() in _BROAD else 1.75


def size_of(hardware: str, wanted: BoxSpec) -> Size:
    """The reservation for hardware: what the spec says, else a default that fits it."""
    count = int(hardware.partition(":")[2] or 1) if hardware != CPU else 1
    cores, gib = _CPU_BOX if hardware == CPU else _GPU_BOX
    mib = wanted.memory // 1024**2 or gib * 1024 * count
    return Size(hardware, wanted.cpu or cores * count, int(mib), wanted.region)


def hardware_name(asked: str) -> str:
    """Modal's own name for what was asked: any letter case and its other names are taken, `:1` is
    left out. A name Modal does not have comes back as it is but for the letter case."""
    if asked.lower() == CPU:
        return CPU
    gpu, _, count = asked.upper().partition(":")
    gpu = _ALIASES.get(gpu, gpu)
    return gpu if count in ("", "1") else f"{gpu}:{count}"

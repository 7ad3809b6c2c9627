"""What Modal charges, in micro-USD per second.

Public pricing page: GPUs as of 2026-10-04, sandbox CPU and memory as of
2026-10-08. The smallest reservation is 0.125 cores and 128 MiB. The names in
:func:`rates` are the resource names that ``BillingReportItem`` documents
(``CPU``, ``Memory``, GPU types); the real mapping's names are not documented.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

GPU: Mapping[str, float] = {
    "T4": 164.0,
    "L4": 222.0,
    "A10": 306.0,
    "L40S": 542.0,
    "A100-40GB": 583.0,
    "A100-80GB": 694.0,
    "RTX-PRO-6000": 842.0,
    "H100": 1097.0,
    "H200": 1261.0,
    "B200": 1736.0,
}
ALIASES = {"A10G": "A10", "A100": "A100-40GB", "H100!": "H100"}
CPU_CORE = 39.42
MEMORY_GIB = 6.67
MIN_MILLI_CPU, MIN_MEMORY_MIB = 125, 128


def gpu_name(resources: Any) -> str:
    """The billed GPU type of an ``api_pb2.Resources``, or an empty string.

    Raises:
        KeyError: Modal has no such GPU.
    """
    asked = resources.gpu_config.gpu_type
    if not asked:
        return ""
    name: str = ALIASES.get(asked, asked)
    if name not in GPU:
        raise KeyError(asked)
    return name


def by_resource(resources: Any) -> dict[str, float]:
    """Micro-USD per second of each resource that a sandbox reserves."""
    cores = max(resources.milli_cpu, MIN_MILLI_CPU) / 1000
    gib = max(resources.memory_mb, MIN_MEMORY_MIB) / 1024
    shares = {"CPU": cores * CPU_CORE, "Memory": gib * MEMORY_GIB}
    if name := gpu_name(resources):
        shares[name] = GPU[name] * max(1, resources.gpu_config.count)
    return shares


def rates() -> dict[str, str]:
    """USD per second as decimal text: the answer of ``WorkspaceBillingRates``."""
    micro = {"CPU": CPU_CORE, "Memory": MEMORY_GIB, **GPU}
    return {name: dollars(value) for name, value in micro.items()}


def dollars(micro_usd: float) -> str:
    """Micro-USD as a decimal number of USD, without an exponent."""
    return f"{micro_usd / 1_000_000:.12f}".rstrip("0").rstrip(".")

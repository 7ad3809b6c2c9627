"""What Modal charges, in micro-USD per second.

Public pricing page: GPUs as of 2026-10-04, sandbox CPU and memory as of
2026-10-08. The smallest reservation is 0.125 cores and 128 MiB. The names and
the unit in :func:`rates` are those of ``modal billing rates --json`` as public
users printed it (2026-09-20); Modal documents neither. A region multiplies the
price (modal.com/docs/guide/region-selection), sandboxes included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
ALIASES = {"A10G": "A10", "A100": "A100-40GB", "H100!": "H100", "B200+": "B200"}
RATES = {
    "T4": "t4",
    "L4": "l4",
    "A10": "a10g",
    "L40S": "l40s",
    "A100-40GB": "a100_40gb",
    "A100-80GB": "a100_80gb",
    "RTX-PRO-6000": "rtx6000",
    "H100": "h100",
    "H200": "h200",
    "B200": "b200",
}
BROAD_REGIONS = ("us", "eu", "ap", "uk", "ca", "me", "sa", "af", "mx")
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


def by_resource(definition: Any, gpus: Mapping[str, float] = GPU) -> dict[str, float]:
    """Micro-USD per second of each resource that an ``api_pb2.Sandbox`` reserves, where it is."""
    resources = definition.resources
    cores = max(resources.milli_cpu, MIN_MILLI_CPU) / 1000
    gib = max(resources.memory_mb, MIN_MEMORY_MIB) / 1024
    shares = {"CPU": cores * CPU_CORE, "Memory": gib * MEMORY_GIB}
    if name := gpu_name(resources):
        shares[name] = gpus[name] * max(1, resources.gpu_config.count)
    factor = surcharge(list(definition.scheduler_placement.regions))
    return {name: value * factor for name, value in shares.items()}


def surcharge(regions: Sequence[str]) -> float:
    """1.5 for broad regions, 1.75 for narrow ones; the smaller where both are named."""
    factors = [1.5 if region in BROAD_REGIONS else 1.75 for region in regions]
    return min(factors, default=1.0)


def rates(gpus: Mapping[str, float] = GPU) -> dict[str, str]:
    """USD per hour as decimal text: the answer of ``WorkspaceBillingRates``. What functions pay
    for CPU and memory is a third of what sandboxes do."""
    hourly = {
        "cpu_hour_cost": CPU_CORE * 3600 / 3,
        "cpu_hour_cost_sandbox": CPU_CORE * 3600,
        "mem_gib_hour_cost": MEMORY_GIB * 3600 / 3,
        "mem_gib_hour_cost_sandbox": MEMORY_GIB * 3600,
        **{f"gpu_hour_cost_{RATES[name]}": micro * 3600 for name, micro in gpus.items()},
        "gpu_hour_cost_b300": 7_100_000.0,
        "volume_storage_gib_month_cost": 90_000.0,
        "egress_gib_cost": 40_000.0,
    }
    return {name: dollars(value) for name, value in hourly.items()}


def dollars(micro_usd: float) -> str:
    """Micro-USD as a decimal number of USD, without an exponent."""
    return f"{micro_usd / 1_000_000:.12f}".rstrip("0").rstrip(".")

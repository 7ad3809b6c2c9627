"""Why a GPU runs below its clocks: the bits of NVML's clocks-event reasons, named."""

from __future__ import annotations

from typing import List

# Bits and names: nvml.h, nvmlClocksEventReasons. Bit 0x1 (idle) is not a throttle: left out.
_REASONS = (
    (0x2, "applications_clocks"),
    (0x4, "sw_power_cap"),
    (0x8, "hw_slowdown"),
    (0x10, "sync_boost"),
    (0x20, "sw_thermal"),
    (0x40, "hw_thermal"),
    (0x80, "hw_power_brake"),
    (0x100, "display_clocks"),
)


def throttle_reasons(mask: int) -> List[str]:
    """Names of the set bits, lowest first."""
    return [name for bit, name in _REASONS if mask & bit]

"""The hardware lists of Spaces and Jobs, in the shape and at the prices of the real ones.

Prices: public documentation, Spaces as of 2026-07-21, Jobs as of 2026-08-21.
CPU, memory and disk are realistic, not authoritative. The unit price is
rounded to whole micro-USD per minute as the Hub does (cpu-basic Job: 167), and
that rounded price is what the meter bills.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

EXPOSED_PORTS_USD_PER_HOUR = 0.01
"""Surcharge on a Job that exposes ports."""


@dataclass(frozen=True)
class Flavor:
    """One hardware flavour; money in micro-USD per minute, sizes in GB."""

    name: str
    pretty_name: str
    cpu: int
    ram: int
    disk: int
    usd_per_hour: float
    gpu: tuple[str, int, int] | None = None

    @property
    def micro_usd_per_minute(self) -> int:
        return round(self.usd_per_hour * 1_000_000 / 60)

    @property
    def micro_usd_per_second(self) -> float:
        return self.micro_usd_per_minute / 60

    def row(self) -> dict[str, Any]:
        """The entry of a hardware list."""
        accelerator = None
        if self.gpu is not None:
            model, quantity, vram = self.gpu
            accelerator = {
                "type": "gpu",
                "model": model,
                "quantity": str(quantity),
                "vram": f"{vram * quantity} GB",
                "manufacturer": "Nvidia",
            }
        return {
            "name": self.name,
            "prettyName": self.pretty_name,
            "cpu": f"{self.cpu} vCPU",
            "ram": f"{self.ram} GB",
            "ephemeralStorage": f"{self.disk} GB",
            "accelerator": accelerator,
            "unitCostMicroUSD": self.micro_usd_per_minute,
            "unitCostUSD": self.micro_usd_per_minute / 1_000_000,
            "unitLabel": "minute",
        }


_SHARED = (
    Flavor("cpu-upgrade", "CPU Upgrade", 8, 32, 50, 0.03),
    Flavor("t4-small", "Nvidia T4 - small", 4, 15, 50, 0.40, ("T4", 1, 16)),
    Flavor("t4-medium", "Nvidia T4 - medium", 8, 30, 100, 0.60, ("T4", 1, 16)),
    Flavor("l4x1", "1x Nvidia L4", 8, 30, 400, 0.80, ("L4", 1, 24)),
    Flavor("l4x4", "4x Nvidia L4", 48, 186, 3200, 3.80, ("L4", 4, 24)),
    Flavor("l40sx1", "1x Nvidia L40S", 8, 62, 380, 1.80, ("L40S", 1, 48)),
    Flavor("l40sx4", "4x Nvidia L40S", 48, 382, 3200, 8.30, ("L40S", 4, 48)),
    Flavor("l40sx8", "8x Nvidia L40S", 192, 1534, 6500, 23.50, ("L40S", 8, 48)),
    Flavor("a10g-small", "Nvidia A10G - small", 4, 15, 110, 1.00, ("A10G", 1, 24)),
    Flavor("a10g-large", "Nvidia A10G - large", 12, 46, 200, 1.50, ("A10G", 1, 24)),
    Flavor("a10g-largex2", "2x Nvidia A10G - large", 24, 92, 1000, 3.00, ("A10G", 2, 24)),
    Flavor("a10g-largex4", "4x Nvidia A10G - large", 48, 184, 2000, 5.00, ("A10G", 4, 24)),
    Flavor("a100-large", "Nvidia A100 - large", 12, 142, 1000, 2.50, ("A100", 1, 80)),
    Flavor("a100x4", "4x Nvidia A100", 48, 568, 4000, 10.00, ("A100", 4, 80)),
    Flavor("a100x8", "8x Nvidia A100", 96, 1136, 8000, 20.00, ("A100", 8, 80)),
)

SPACES: dict[str, Flavor] = {
    flavor.name: flavor for flavor in (Flavor("cpu-basic", "CPU Basic", 2, 16, 50, 0.0), *_SHARED)
}

JOBS: dict[str, Flavor] = {
    flavor.name: flavor
    for flavor in (
        Flavor("cpu-basic", "CPU Basic", 2, 16, 20, 0.01),
        Flavor("cpu-performance", "CPU Performance", 32, 256, 100, 1.90),
        Flavor("cpu-xl", "CPU XL", 16, 124, 100, 1.00),
        *_SHARED,
        Flavor("h200", "Nvidia H200", 23, 256, 3000, 5.00, ("H200", 1, 141)),
        Flavor("h200x2", "2x Nvidia H200", 46, 512, 6000, 10.00, ("H200", 2, 141)),
        Flavor("h200x4", "4x Nvidia H200", 92, 1024, 12000, 20.00, ("H200", 4, 141)),
        Flavor("h200x8", "8x Nvidia H200", 184, 2048, 24000, 40.00, ("H200", 8, 141)),
        Flavor("rtx-pro-6000", "Nvidia RTX PRO 6000", 24, 180, 800, 2.75, ("RTX PRO 6000", 1, 96)),
        Flavor(
            "rtx-pro-6000x2", "2x Nvidia RTX PRO 6000", 48, 360, 1600, 5.50, ("RTX PRO 6000", 2, 96)
        ),
        Flavor(
            "rtx-pro-6000x4", "4x Nvidia RTX PRO 6000", 96, 720, 3200, 11.0, ("RTX PRO 6000", 4, 96)
        ),
        Flavor(
            "rtx-pro-6000x8",
            "8x Nvidia RTX PRO 6000",
            192,
            1440,
            6400,
            22.0,
            ("RTX PRO 6000", 8, 96),
        ),
    )
}

"""`devbox offers`: hardware and prices across providers."""

from __future__ import annotations

import click
import msgspec

from devbox.cli.common import (
    complete_gpus,
    echo,
    json_option,
    print_json,
    provider_option,
    workspace,
)
from devbox.errors import UsageError
from devbox.text import dollars, duration, parse_size, size
from devbox.text_layout import table


@click.command("offers")
@provider_option("Only this one.", "providers", multiple=True)
@click.option("--gpu", default="", metavar="NAME", help="Only with this GPU, such as L40S.",
              shell_complete=complete_gpus)  # fmt: skip
@click.option("--vram", default="0B", metavar="SIZE", help="At least this much, such as 40GB.")
@click.option("--max-price", type=float, metavar="DOLLARS", help="At most this an hour.")
@json_option
def offers_command(
    providers: tuple[str, ...], gpu: str, vram: str, max_price: float | None, as_json: bool
) -> None:
    """Compare hardware across providers, cheapest first."""
    from devbox.money.offers import gather, select
    from devbox.providers import registry

    try:
        least = parse_size(vram)
    except ValueError as error:
        raise UsageError(str(error), fix="for example: devbox offers --vram 40GB") from None
    ws = workspace()
    found, failed = gather(ws, providers or registry.NAMES)
    offers = select(found, gpu=gpu, vram=least, max_price=max_price)
    if as_json:
        print_json("offers", offers=[msgspec.to_builtins(o) for o in offers], failed=failed)
        return
    rows = [("PROVIDER", "HARDWARE", "GPU", "VRAM", "CPU", "MEMORY", "$/H", "PRICE FROM")]
    now = ws.clock()
    for offer in offers:
        hardware = offer.hardware
        gpu = f"{hardware.gpus}× {hardware.gpu}" if hardware.gpus else "–"
        age = now - offer.as_of
        source = offer.price.source + (f", {duration(age)} old" if age >= 60 else "")
        rows.append(
            (
                offer.provider,
                hardware.name,
                gpu,
                size(hardware.vram) if hardware.vram else "–",
                f"{hardware.cpus:g}" if hardware.cpus else "–",
                size(hardware.memory) if hardware.memory else "–",
                dollars(offer.price.micro_per_hour),
                source,
            )
        )
    for line in table(rows):
        echo(line)
    for name, why in failed.items():
        echo(f"{name}: no offers: {why}", err=True)

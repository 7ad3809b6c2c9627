"""`devbox offers`: hardware and prices across providers; `devbox cost`: what was spent."""

from __future__ import annotations

import csv
import sys
from typing import Any

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
from devbox.state.spending import Line, report
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


@click.command("cost")
@click.option(
    "--by", type=click.Choice(["box", "day", "job", "hardware"]), default="box", show_default=True
)
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@json_option
def cost_command(by: Any, as_csv: bool, as_json: bool) -> None:
    """What was spent, by box, day, job or hardware.

    Prices are the ones in force when each stretch began. Time whose price is unknown is shown
    as unknown and never counted as free.
    """
    if as_csv and as_json:
        raise UsageError("choose one of --json and --csv")
    ws = workspace()
    now = ws.clock()
    lines = report(ws.store.database, by, now)
    if as_json:
        rows = [
            {
                by: line.key,
                "seconds": round(line.seconds, 3),
                "cost_micro": line.cost,
                "unknown_seconds": round(line.unknown_seconds, 3),
            }
            for line in lines
        ]
        print_json("cost", by=by, as_of=now, rows=rows)
        return
    if as_csv:
        writer = csv.writer(sys.stdout)
        writer.writerow([by, "seconds", "dollars", "unknown_seconds"])
        for line in lines:
            row = (round(line.seconds), f"{line.cost / 1e6:.6f}", round(line.unknown_seconds))
            writer.writerow([line.key, *row])
        return
    _table(by, lines)


def _table(by: str, lines: list[Line]) -> None:
    rows = [(by.upper(), "TIME", "COST")]
    rows += [(line.key, duration(line.seconds), _cost(line)) for line in lines]
    if by != "job":  # runs on one box can overlap, so their costs do not add up
        total = Line(
            "total",
            sum(line.seconds for line in lines),
            sum(line.cost for line in lines),
            sum(line.unknown_seconds for line in lines),
        )
        rows.append(("total", duration(total.seconds), _cost(total)))
    for row in table(rows, right=[1]):
        echo(row)


def _cost(line: Line) -> str:
    if line.unknown_seconds <= 0:
        return dollars(line.cost)
    return f"{dollars(line.cost)} + unknown price for {duration(line.unknown_seconds)}"

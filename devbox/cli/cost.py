"""`devbox cost`: what was spent, from the ledger."""

from __future__ import annotations

import csv
import sys
from typing import Any

import click

from devbox.cli.common import echo, json_option, print_json, workspace
from devbox.errors import UsageError
from devbox.state.spending import Line, report
from devbox.text import dollars, duration
from devbox.text_layout import table


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

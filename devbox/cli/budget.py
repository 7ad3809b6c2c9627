"""`devbox budget`: what the budgets leave, and doing what they ask for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import click
import msgspec

from devbox.cli.common import echo, json_option, print_json, quiet_option, result, workspace
from devbox.text import dollars, local_time
from devbox.text_layout import plain, table

if TYPE_CHECKING:
    from devbox.money.budget import Standing


@click.command("budget")
@click.option("--enforce", "acts", is_flag=True, help="Do now what the budgets ask for.")
@json_option
@quiet_option
def budget_command(acts: bool, as_json: bool, quiet: bool) -> None:
    """What is spent of each budget, and when it is reached as things stand.

    --enforce tells what was crossed, arms the watchdogs of boxes that run with what is left (after
    a budget was raised or lowered), and saves and pauses what has spent it. The dashboard does the
    same each minute.

    \b
    devbox budget
    devbox budget --enforce
    """
    from devbox.money import limits

    ws = workspace(quiet=quiet or as_json)
    done = []
    if acts:
        from devbox.lifecycle import enforce

        done = enforce.enforce(ws)
    found = limits.standings(ws)
    if as_json:
        print_json(
            "budget",
            as_of=ws.clock(),
            budgets=[_fields(each) for each in found],
            done=[msgspec.to_builtins(each) for each in done],
        )
        return
    for each in done:
        echo(f"{each.kind:7} {plain(each.box)}: {plain(each.detail, 300)}", err=True)
    if not found:
        result("no budget is set; see: devbox config show")
        return
    rows = [["BUDGET", "SPENT", "OF", "", "BOXES MAY ADD", "REACHED"]]
    rows += [_row(each) for each in found]
    for line in table(rows, right=[1, 2, 3, 4]):
        echo(line)


def _row(found: Standing) -> list[str]:
    spent = dollars(found.spent) + ("+?" if found.unknown else "")
    reached = "–" if math.isinf(found.full) else local_time(found.full, "%a %H:%M")
    return [
        plain(found.limit.name),
        spent,
        dollars(found.limit.micro),
        f"{found.part:.0%}",
        dollars(found.committed),
        "spent" if found.part >= 1 else reached,
    ]


def _fields(found: Standing) -> dict[str, object]:
    return {
        "name": found.limit.name,
        "period": found.limit.kind,
        "since": found.span.begin if math.isfinite(found.span.begin) else None,
        "until": found.span.end if math.isfinite(found.span.end) else None,
        "limit_micro": found.limit.micro,
        "spent_micro": found.spent,
        "unknown": found.unknown,
        "committed_micro": found.committed,
        "reached": found.full if math.isfinite(found.full) else None,
    }

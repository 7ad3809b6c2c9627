"""`devbox cost`: what was spent, from the ledger."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from devbox.cli.common import echo, json_option, narrate, print_json, workspace
from devbox.errors import UsageError
from devbox.state.spending import By, Line
from devbox.text import dollars, duration
from devbox.text_layout import bar, plain, table

if TYPE_CHECKING:
    from devbox.money.fixed import Other
    from devbox.money.period import Period
    from devbox.workspace import Workspace

_OVERLAPS = ("job", "run")  # two at once on one box each show its full price


@click.command("cost")
@click.option("--by", type=click.Choice(get_args(By)), default="box", show_default=True)
@click.option("--since", metavar="TIME", help="From this day or moment on, or for so long (7d).")
@click.option("--until", metavar="TIME", help="To the end of this day, or to this moment.")
@click.option("--tz", "zone", metavar="ZONE", help="Days of this time zone, such as UTC.")
@click.option("--idle", "by_use", is_flag=True, help="Split into busy and idle, by box or day.")
@click.option("--after", metavar="TIME", help="With --idle: what this idle.after had saved.")
@click.option("--sizes", is_flag=True, help="Cheaper hardware on which the runs had fitted.")
@click.option("--reconcile", is_flag=True, help="Compare with the providers' own bills.")
@click.option("--chart/--no-chart", default=None, help="Bars beside it; the default on a terminal.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@json_option
@click.option(
    "--html",
    "page",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write one page with charts and tables, which opens offline.",
)
def cost_command(
    by: By,
    since: str | None,
    until: str | None,
    zone: str | None,
    by_use: bool,
    after: str | None,
    sizes: bool,
    reconcile: bool,
    chart: bool | None,
    as_csv: bool,
    as_json: bool,
    page: Path | None,
) -> None:
    """What was spent, by box, day, job, run, project, hardware or provider.

    Prices are the ones in force when each stretch began. Time whose price is unknown is shown
    as unknown and never counted as free.

    \b
    devbox cost --by day --since month
    devbox cost --by project --since 2026-11-01 --until 2026-11-30
    devbox cost --since 90d --html cost.html
    devbox cost --idle --since week --after 10m
    """
    from devbox.money import period

    if as_csv + as_json + (page is not None) > 1:
        raise UsageError("choose one of --json, --csv and --html")
    ws = workspace()
    now = ws.clock()
    asked = period.parse(since, until, zone, now)
    if page is not None:
        _write_page(ws, asked, now, page)
        return
    if by_use or after is not None:
        from devbox.cli import cost_use

        if as_csv or by not in ("box", "day"):
            raise UsageError("--idle goes by box or day, as a table or with --json")
        cost_use.tell(ws, by == "day", asked, now, after=after, as_json=as_json)
        return
    if reconcile:
        from devbox.cli import cost_bill

        cost_bill.tell(ws, asked, now, as_json=as_json)
        return
    if sizes:
        from devbox.cli import cost_sizes

        cost_sizes.tell(ws, asked, now, as_json=as_json)
        return
    _report(ws, by, asked, now, as_csv=as_csv, as_json=as_json, chart=chart)


def _report(
    ws: Workspace,
    by: By,
    asked: Period,
    now: float,
    *,
    as_csv: bool,
    as_json: bool,
    chart: bool | None,
) -> None:
    from devbox.money import fixed, report
    from devbox.state import spending

    database, stop = ws.store.database, min(asked.end, now)
    found = None if as_csv else spending.groups(database, asked.begin, stop)
    lines = spending.report(
        database, by, now, since=asked.begin, until=asked.end, zone=asked.zone, found=found
    )
    if found is None:
        _csv(by, lines)
        return
    total = report.total(found)
    begin = max(asked.begin, spending.first(database))
    other = fixed.lines(ws.spec.costs, begin, stop, asked.zone)
    if as_json:
        _json(by, lines, total, other, asked, now)
        return
    shown = sys.stdout.isatty() if chart is None else chart
    _table(by, lines, total, bars=shown)
    _beside(total, other)
    from devbox.cli.show import tell_budgets

    tell_budgets(ws)


def _json(
    by: By, lines: list[Line], total: Line, other: list[Other], asked: Period, now: float
) -> None:
    rows: list[dict[str, object]] = []
    for line in lines:
        row: dict[str, object] = {
            by: line.key,
            "seconds": round(line.seconds, 3),
            "cost_micro": line.cost,
            "unknown_seconds": round(line.unknown_seconds, 3),
        }
        if by in _OVERLAPS:
            row |= {"runs": line.runs, "items": line.items}
        rows.append(row)
    print_json(
        "cost",
        by=by,
        as_of=now,
        since=asked.begin if asked.begin > float("-inf") else None,
        until=min(asked.end, now),
        timezone=asked.name,
        rows=rows,
        total_micro=total.cost,
        unknown_seconds=round(total.unknown_seconds, 3),
        other=[{"name": o.name, "kind": o.kind, "cost_micro": o.cost} for o in other],
    )


def _csv(by: By, lines: list[Line]) -> None:
    writer = csv.writer(sys.stdout)
    more = ["runs", "items"] if by in _OVERLAPS else []
    writer.writerow([by, "seconds", "dollars", "unknown_seconds", *more])
    for line in lines:
        row = (round(line.seconds), f"{line.cost / 1e6:.6f}", round(line.unknown_seconds))
        counts = (line.runs, line.items) if more else ()
        writer.writerow([_cell(line.key), *row, *counts])


def _cell(text: str) -> str:
    """A name that no spreadsheet reads as a formula, on one line."""
    name = plain(text)
    return f"'{name}" if name[:1] in ("=", "+", "-", "@") else name


def _table(by: By, lines: list[Line], total: Line, *, bars: bool) -> None:
    head = [by.upper(), "TIME", "COST"]
    rows = [[plain(line.key), duration(line.seconds), _cost(line)] for line in lines]
    right = [1]
    if by in _OVERLAPS:
        head += ["RUNS", "ITEMS", "PER ITEM"]
        for row, line in zip(rows, lines, strict=True):
            row += [f"{line.runs:,}", f"{line.items:,}" if line.items else "–", _per_item(line)]
        right = [1, 3, 4, 5]
    else:
        rows.append(["total", duration(total.seconds), _cost(total)])
    if bars and lines:
        head.append("")
        top = max(line.cost for line in lines) or 1
        for row, line in zip(rows, lines, strict=False):
            drawn = bar(100 * line.cost / top, 20, style="info")
            row.append(drawn[0][0] if line.cost else "")
        if by not in _OVERLAPS:
            rows[-1].append("")
    for printed in table([head, *rows], right=right):
        echo(printed)


def _beside(total: Line, other: list[Other]) -> None:
    if not other:
        return
    echo()
    echo("beside the ledger, from your config:")
    rows = [(f"  {plain(line.name, 60)}", line.kind, dollars(line.cost)) for line in other]
    known = total.cost + sum(line.cost for line in other)
    more = " + unknown" if total.unknown_seconds > 0 else ""
    rows.append(("  all together", "", dollars(known) + more))
    for row in table(rows):
        echo(row)


def _write_page(ws: Workspace, asked: Period, now: float, file: Path) -> None:
    from devbox.files import write_atomic
    from devbox.money import page, report

    made = page.render(report.build(ws.store, ws.spec, asked, now))
    try:
        write_atomic(file.absolute(), made.encode())
    except OSError as error:
        raise UsageError(
            f"{file} cannot be written: {error.strerror}",
            fix="name a file in a folder of yours: devbox cost --html cost.html",
        ) from None
    narrate(
        f"wrote {file} ({len(made.encode()) / 1e6:.1f} MB); open it in any browser, offline too"
    )


def _cost(line: Line) -> str:
    if line.unknown_seconds <= 0:
        return dollars(line.cost)
    return f"{dollars(line.cost)} + unknown price for {duration(line.unknown_seconds)}"


def _per_item(line: Line) -> str:
    return dollars(line.cost / line.items) if line.items and line.total is not None else "–"

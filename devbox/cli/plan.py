"""`devbox plan`: what a job or a box needs, and what every offer would cost it."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from devbox.cli.common import box_option, echo, json_option, print_json, provider_option, workspace
from devbox.cli.run_options import WordsAfterDashes, complete_jobs
from devbox.errors import UsageError
from devbox.text import clean, counted, dollars, duration, size
from devbox.text_layout import plain, table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from devbox.money.plan import Asked, Plan, Row
    from devbox.scale.plan import ScalePlan
    from devbox.spec import JobSpec
    from devbox.workspace import Workspace

_ROWS = 15  # the cheapest offers
_NAMED = 6  # hardware in one line of what does not do


@click.command("plan", cls=WordsAfterDashes)
@click.argument("job_name", metavar="[JOB]", required=False, shell_complete=complete_jobs)
@box_option("The box of devbox.toml that it is for.")
@provider_option("Only this one.", "providers", multiple=True)
@click.option("--items", type=click.IntRange(1), metavar="COUNT", help="So many items.")
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    metavar="COUNT",
    help="Time and cost of a batch over 1, 2, 4, … up to so many boxes.",
)
@click.option("--all", "whole", is_flag=True, help="List dearer offers too.")
@click.option("--refresh", is_flag=True, help="Ask the providers for their offers now.")
@json_option
@click.pass_context
def plan_command(
    ctx: click.Context,
    job_name: str | None,
    box_name: str | None,
    providers: tuple[str, ...],
    items: int | None,
    workers: int | None,
    whole: bool,
    refresh: bool,
    as_json: bool,
) -> None:
    """What JOB with its arguments, or a box of devbox.toml, needs; every offer that does, with what
    it costs; and what does not do, and why. Nothing is started.

    \b
    devbox plan                              the only box of devbox.toml
    devbox plan depth -- --input photos
    devbox plan sam-body4d --items 40 -- --batch 64 --occlusion off
    devbox plan track --workers 8 -- --video clips
    devbox plan --provider modal --refresh

    Offers are those that each provider told last; how old they are is said.
    """
    from devbox.money import plan
    from devbox.providers import registry
    from devbox.spec import settings_type

    for name in providers:
        settings_type(name)  # refuses one that does not exist
    ws = workspace(quiet=as_json)
    asked, pieces = _asked(ws, job_name, box_name, ctx.meta["devbox.words"], items)
    if workers and not pieces:
        _refuse_undivided(asked)
    found = plan.plan(ws, asked, providers or registry.NAMES, refresh=refresh)
    spread = None
    if workers:
        from devbox.scale import plan as batch_plan

        spread = batch_plan.plan(ws, asked, found, pieces, workers)
    if as_json:
        fields = _fields(found)
        if workers:
            fields["workers"] = None if spread is None else _spread_fields(spread)
        print_json("plan", as_of=ws.clock(), **fields)
        return
    for line in _lines(found, ws.clock(), whole=whole):
        echo(line)
    if spread:
        for line in ["", *_spread_lines(spread)]:
            echo(plain(line, 400))


def _asked(
    ws: Workspace, job_name: str | None, box_name: str | None, words: list[str], items: int | None
) -> tuple[Asked, Mapping[str, int | None]]:
    """And the pieces that a batch of it would be divided into, with their bytes where the input is
    named; none where it cannot be divided."""
    from devbox.jobs import arguments, catalogue
    from devbox.money.plan import Asked
    from devbox.spec import BoxSpec

    if job_name is None:
        if words:
            raise UsageError(
                "arguments need a job that they are for", fix="devbox plan depth -- --input photos"
            )
        name, wanted = ws.spec.box(box_name)
        return Asked(name, wanted), {}
    job = catalogue.find(ws.spec, job_name)
    name = box_name or job.box or next(iter(ws.spec.boxes), "") * (len(ws.spec.boxes) == 1)
    name, wanted = ws.spec.box(name) if name else ("", BoxSpec())
    if job.takes_words:
        return Asked(name, wanted, job, {}, words, items), {}
    given = arguments.parse(_without_inputs(job), words)
    pieces: Mapping[str, int | None] = {}
    divided = next((which for which, each in job.inputs.items() if each.spread), None)
    if divided and items is None and divided in given.inputs:
        pieces = _pieces(job, divided, given.inputs[divided])
        items = len(pieces)
    elif divided and items:
        pieces = {str(number): None for number in range(items)}
    if items is None and len(job.inputs) == 1 and given.inputs:
        from devbox.jobs.inputs import items as counted_items  # why here: it knows ssh and rsync

        ((which, path),) = given.inputs.items()
        items = counted_items(path, job.inputs[which].patterns)
    return Asked(name, wanted, job, given.args, (), items), pieces


def _pieces(job: JobSpec, which: str, source: Path) -> Mapping[str, int | None]:
    from devbox.box.pieces import pieces

    wanted = job.inputs[which]
    try:
        found = pieces(source, wanted.patterns, wanted.spread or "files")
        return {name: sum(file.stat().st_size for file in files) for name, files in found.items()}
    except (ValueError, OSError) as error:
        raise UsageError(f"input {which}: {clean(str(error), 300)}", fix="rename it") from None


def _refuse_undivided(asked: Asked) -> None:
    if asked.job is None:
        raise UsageError(
            "--workers is of a job that is spread over boxes", fix="devbox plan track --workers 8"
        )
    known = next((name for name, each in asked.job.inputs.items() if each.spread), None)
    if known is None:
        which = next(iter(asked.job.inputs), "NAME")
        raise UsageError(
            f"job {asked.job.name} does not say how its input is divided between boxes",
            fix=f'set spread = "files" in [jobs.{asked.job.name}.inputs.{which}] of devbox.toml',
        )
    raise UsageError(
        f"the pieces of {asked.job.name} are not known",
        fix=f"devbox plan {asked.job.name} --workers 8 -- --{known} FOLDER, or --items COUNT",
    )


def _without_inputs(job: JobSpec) -> JobSpec:
    """The same, that does without what a run needs: a plan may be made before there is any."""
    replace = msgspec.structs.replace
    inputs = {name: replace(each, required=False) for name, each in job.inputs.items()}
    args = {name: replace(each, required=False) for name, each in job.args.items()}
    return replace(job, inputs=inputs, args=args)


def _lines(found: Plan, now: float, *, whole: bool) -> list[str]:
    what = " on ".join(filter(None, (found.job, found.box and f"box {found.box}")))
    items = f", {counted(found.items, 'item')}" if found.items is not None else ""
    fitting = [row for row in found.rows if not row.why_not]
    shown = [row for at, row in enumerate(fitting) if whole or at < _ROWS or row.choice]
    lines = [f"{what}{items}", *_needs(found), ""]
    if fitting:
        until = f"UNTIL {duration(found.max_uptime)}"
        head = ("PROVIDER", "HARDWARE", "GPU", "VRAM", "$/H", "TIME", "TOTAL", until, "PRICE FROM")
        rows = [head, *(_cells(row, now) for row in shown)]
        if not found.job:  # a box takes no time of its own
            rows = [(*row[:5], *row[7:]) for row in rows]
        lines += table(rows, right=range(4, len(rows[0]) - 1))
    else:
        lines.append("no offer does")
    if len(shown) < len(fitting):
        lines.append(f"and {counted(len(fitting) - len(shown), 'dearer offer')}: --all lists them")
    lines += _not_doing([row for row in found.rows if row.why_not])
    lines += ["", *_remarks(found, fitting, now)]
    return [plain(line, 400) if line else "" for line in lines]


def _needs(found: Plan) -> list[str]:
    need = found.need
    lines = [f"  {each}" for each in need.evidence]
    asked = [
        need.gpu,
        f"{size(need.asked_vram)} VRAM" if need.asked_vram else "",
        f"{need.cpus:g} CPU" if need.cpus else "",
        f"{size(need.asked_memory)} memory" if need.asked_memory else "",
        f"at most ${need.max_price:g}/h" if need.max_price is not None else "",
    ]
    if any(asked):
        lines.append(f"  asked for: {', '.join(filter(None, asked))}")
    if room := need.vram_with_room:
        least = "" if need.measured else "at least "
        lines.append(f"  needs {least}{size(room)} VRAM in one GPU, with 10 % and 1 GB of room")
    if found.job and not need.measured:
        lines.append("  whether what is listed is enough is not known")
    return lines


def _cells(row: Row, now: float) -> tuple[str, ...]:
    offer, hardware = row.offer, row.offer.hardware
    age = now - offer.as_of
    dated = offer.price.source.startswith("catalogue")
    source = offer.price.source + (f", {duration(age)} old" if age >= 60 and not dated else "")
    region = f", {offer.region} ×{offer.factor:g}" if offer.region else ""
    seconds = row.estimate.seconds
    return (
        offer.provider,
        plain(hardware.name, 30) + _mark(row),
        f"{hardware.gpus}× {plain(hardware.gpu, 30)}" if hardware.gpus else "–",
        size(hardware.vram) if hardware.vram else "–",
        dollars(offer.price.micro_per_hour),
        "unknown" if seconds is None else f"~{duration(seconds)}",
        "unknown" if row.total is None else f"~{dollars(row.total)}",
        dollars(row.ahead.micro),
        source + region,
    )


def _mark(row: Row) -> str:
    return "" if not row.choice else " ✓" if row.choice == 1 else f" ✓{row.choice}"


def _not_doing(rows: list[Row]) -> list[str]:
    """Those that do not, by provider and reason."""
    key = _provider_and_reason
    lines = ["", "do not do:"] if rows else []
    for (provider, why), group in groupby(sorted(rows, key=key), key=key):
        names = [plain(row.offer.hardware.name, 30) for row in group]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        lines.append(f"  {provider}: {', '.join(names[:_NAMED])}{more}: {why}")
    return lines


def _provider_and_reason(row: Row) -> tuple[str, str]:
    return row.offer.provider, row.why_not


def _remarks(found: Plan, fitting: list[Row], now: float) -> list[str]:
    """On the chosen one, time, storage, and how old it all is."""
    lines = []
    takes = f"devbox up {found.box} takes"
    if found.refused:
        lines.append(f"{takes} none of them: {found.refused}")
    picked = sorted((row for row in found.rows if row.choice), key=lambda row: row.choice)
    if picked and not picked[0].why_not:
        lines.append(f"✓ is what {takes}")
    for row in (row for row in picked if row.why_not):
        name = f"{row.offer.provider} {plain(row.offer.hardware.name, 30)}"
        lines.append(f"{takes} {name}, which does not do: {row.why_not}")
    if len(picked) > 1:
        lines.append(f"✓2 to ✓{len(picked)} are taken in turn where those before are not free")
    if found.job:
        lines += _times(fitting)
    storage = found.storage
    if storage.weights or storage.unknown:
        parts = [size(storage.weights)] if storage.weights else []
        parts += [f"{storage.unknown} of unknown size"] if storage.unknown else []
        lines.append(f"weights: {' and '.join(parts)}, on the box or its volumes")
    if storage.monthly:
        lines.append(f"storage: {dollars(storage.monthly)} a month, by [costs] of your config")
    elif storage.volumes:
        lines.append(f"volumes {', '.join(storage.volumes)}: what they cost is in no [costs] table")
    lines += [f"{name}: no offers: {why}" for name, why in found.failed.items()]
    oldest = now - min(found.asked.values(), default=now)
    if oldest >= 60:
        lines.append(
            f"offers as they were up to {duration(oldest)} ago; --refresh asks the providers"
        )
    return lines


def _times(fitting: list[Row]) -> list[str]:
    known = [row for row in fitting if row.estimate.seconds is not None]
    if known:
        runs = max(row.estimate.runs for row in known)
        return [
            f"time: the median of up to {counted(runs, 'earlier run')} on that hardware with these "
            "arguments, without start and setup; elsewhere it is unknown"
        ]
    rates = {row.offer.hardware.name: row.estimate.per_item for row in fitting}
    told = [f"{duration(rate)} an item on {plain(k, 30)}" for k, rate in rates.items() if rate]
    if told:
        return [f"time: {', '.join(told[:3])}; say how many with --items, or name the input"]
    return ["time: unknown, as no earlier run with these arguments was on this hardware"]


def _fields(found: Plan) -> dict[str, object]:
    need = found.need
    fields = msgspec.to_builtins(found)
    fields["need"]["vram_with_room"] = need.vram_with_room
    for told, row in zip(fields["rows"], found.rows, strict=True):
        told["until_max_uptime_micro"] = row.ahead.micro
        told["asks"] = told.pop("ahead") and row.ahead.asks
        told["total_micro"] = told.pop("total")
    return {**fields}


def _spread_fields(found: ScalePlan) -> dict[str, object]:
    fields = msgspec.to_builtins(found)
    for row in fields["rows"]:
        row["total_micro"] = row.pop("micro")
    return {**fields}


def _spread_lines(found: ScalePlan) -> list[str]:
    """A batch over more and more workers."""
    on = f"{found.provider} {plain(found.hardware, 30)}"
    lines = [f"{counted(found.pieces, 'piece')} over workers, each {on}"]
    if found.rows:
        alone = found.rows[0].seconds
        head = ("WORKERS", "TIME", "SPEED-UP", "TOTAL", "LIMIT")
        cells = [
            (
                str(row.workers),
                f"~{duration(row.seconds)}",
                f"{alone / row.seconds:.1f}×",
                "unknown" if row.micro is None else f"~{dollars(row.micro)}",
                row.limit,
            )
            for row in found.rows
        ]
        lines += table([head, *cells], right=range(4))
    if found.knee is not None and found.beyond:
        more = min(256, 2 * found.rows[-1].workers)
        lines.append(f"each doubling up to {found.knee} pays; further: --workers {more}")
    elif found.knee is not None:
        lines.append(
            f"the knee is {counted(found.knee, 'worker')}: twice as many take more than 75 % of "
            "that time, or cost over 10 % more"
        )
    lines += found.known
    lines += [f"not in it: {each}" for each in found.unknown]
    return lines

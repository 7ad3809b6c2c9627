"""`devbox run --workers`, and the verbs of runs for a batch: a run that is spread over boxes."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from devbox import spec
from devbox.cli import batch_report
from devbox.cli.common import echo, print_json
from devbox.cli.following import following
from devbox.cli.run_then import wanted
from devbox.cli.run_view import watch
from devbox.errors import Interrupted, JobFailed, UsageError
from devbox.lifecycle import placing
from devbox.lifecycle import then as after_run
from devbox.model import Batch, Price, RunState
from devbox.money import projection
from devbox.scale import batch as batches
from devbox.scale import control
from devbox.scale.batch import Asked, Workers
from devbox.scale.coordinator import Message, coordinate
from devbox.scale.logs import log_lines
from devbox.text import counted, dollars
from devbox.workspace import Workspace

if TYPE_CHECKING:
    from devbox.jobs.arguments import Parsed
    from devbox.money.fit import Candidate
    from devbox.spec import JobSpec

_MICRO = 1_000_000


def start(
    ws: Workspace,
    job: JobSpec,
    given: Parsed,
    box_name: str | None,
    *,
    workers: str,
    provider: str | None,
    max_cost: float | None,
    speculate: bool,
    then: str | None,
    no_sync: bool,
    no_setup: bool,
    detach: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """`devbox run JOB --workers N`: divide its input, bring the boxes up, and see it through."""
    count = Workers.parse(workers)
    ceiling = None if max_cost is None else round(max_cost * _MICRO)
    if detach:
        _require_unwatched({"--speculate": speculate, "--max-cost": ceiling is not None})
    which = batches.divided(job, given.inputs)
    name, table = batches.worker_table(ws.spec, box_name, provider or "")
    if table.command:
        raise UsageError(
            f"{name} is a command, and can be no worker",
            means="nothing was started",
            fix="name a box whose table has no command, with --box",
        )
    end = wanted(then)
    if end:
        found = [after_run.order(ws, end, c, name, stays=not detach) for c in spec.choices(table)]
        for line in found[0].lines:
            ws.narrate(line)
    _agree(ws, name, table, count.most, ceiling)
    asked = Asked(
        input=which,
        source=str(given.inputs[which]),
        least=count.least,
        most=count.most,
        args=dict(given.args),
        sources={key: str(path) for key, path in given.inputs.items() if key != which},
        provider=provider or "",
        then=end,
        ceiling=ceiling,
        detached=detach,
        speculate=speculate,
        no_sync=no_sync,
        no_setup=no_setup,
    )
    batch = batches.create(ws, job, name, given.args, given.inputs, asked)
    pieces = ws.store.batches.counts(batch.id).total
    up_to = counted(min(count.most, pieces), "worker")
    ws.narrate(f"batch {batch.id}: {counted(pieces, 'piece')} for {up_to}")
    if detach:
        leave(ws, batch, as_json=as_json, quiet=quiet)
    else:
        see_through(ws, batch, as_json=as_json, quiet=quiet)


def see_through(ws: Workspace, batch: Batch, *, as_json: bool, quiet: bool) -> None:
    """Work on it to its end, and say what it came to. JobFailed when not all of it is well."""
    ws = batches.workspace(ws, batch)
    _show(ws, batch, control.attach(ws, batch), quiet=quiet)
    ended = ws.store.batches.get(batch.id) or batch
    batch_report.report(ws, ended, as_json=as_json)
    if ended.state is RunState.SUCCEEDED:
        return
    for piece in batches.failed(ws, ended)[:10]:
        ws.narrate(f"  {piece.name}: {piece.error}")
    raise JobFailed(
        f"batch {ended.id} {ended.state}" + (f": {ended.message}" if ended.message else ""),
        means=f"what it did is in {batches.results(ended)}",
        fix=f"devbox retry {ended.id} does only what failed or is missing",
    )


def leave(ws: Workspace, batch: Batch, *, as_json: bool, quiet: bool) -> None:
    """Give all of it out at once, and return."""
    _show(ws, batch, coordinate(ws, batch, leave=True), quiet=quiet)
    ws.narrate(f"all of it is on its workers; fetch the results: devbox attach {batch.id}")
    if as_json:
        print_json("run", run=batch_report.fields(ws, ws.store.batches.get(batch.id) or batch))
    else:
        echo(batch.id)


def cancel(ws: Workspace, batch: Batch, *, as_json: bool) -> None:
    ended = control.cancel(batches.workspace(ws, batch), batch)
    if as_json:
        print_json("run", run=batch_report.fields(ws, ended))
    else:
        echo(f"{ended.id} {ended.state}")


def retry(
    ws: Workspace,
    batch: Batch,
    *,
    max_cost: float | None,
    then: str | None,
    no_sync: bool,
    no_setup: bool,
    detach: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    own, before = batches.workspace(ws, batch), batches.asked(batch)
    ceiling = before.ceiling if max_cost is None else round(max_cost * _MICRO)
    if detach:
        _require_unwatched({"--max-cost": ceiling is not None})
    if ceiling is not None:
        name, table = batches.worker_table(own.spec, batch.box_name, before.provider)
        _require_prices(own, name, before.most, placing.Search(own, name, table, None).candidates())
    again = control.retry(
        own, batch, ceiling=ceiling, then=wanted(then), no_sync=no_sync, no_setup=no_setup
    )
    if detach:
        leave(own, again, as_json=as_json, quiet=quiet)
    else:
        see_through(ws, again, as_json=as_json, quiet=quiet)


def logs(ws: Workspace, batch: Batch, *, go_on: bool) -> None:
    """The logs of all its parts, each line with its worker's name in front."""
    with following():
        for line in log_lines(batches.workspace(ws, batch), batch, wait=go_on):
            sys.stdout.write(line + "\n")
            if go_on:
                sys.stdout.flush()


def refuse(dest: Path | None, queued: bool = False) -> None:
    """An option that a batch has no use for. queued: --gpus, --after or --priority."""
    if queued:
        raise UsageError(
            "--gpus, --after and --priority are for a run on one box",
            means="nothing was started",
            fix="leave them out; gpus and priority in the job's table hold for each worker",
        )
    if dest:
        raise UsageError(
            "--dest is for a run on one box; a batch's results are in results/ of its project",
            means="nothing was started",
            fix="leave out --dest",
        )


def _show(ws: Workspace, batch: Batch, messages: Iterable[Message], *, quiet: bool) -> None:
    try:
        with following(sys.stderr):
            watch(messages, batch.job, quiet=quiet, clock=ws.clock)
    except KeyboardInterrupt:
        raise Interrupted(
            f"detached; each worker of {batch.id} finishes what it holds, and the rest waits",
            means=f"continue it: devbox attach {batch.id}",
            fix=f"to end it: devbox cancel {batch.id}",
        ) from None


def _agree(ws: Workspace, name: str, table: spec.BoxSpec, count: int, ceiling: int | None) -> None:
    """Say what so many boxes may cost, and have the user asked once where they want that."""
    found = placing.Search(ws, name, table, None).candidates()
    if not found:
        return  # why: bringing the first one up says what there is to say
    wanted, offer = found[0]
    what = f"up to {count} × {name}: {wanted.provider} {offer.hardware.name}"
    micro = offer.price.micro_per_hour
    if ceiling is None:
        many = None if micro is None else micro * count
        price = Price(many, offer.price.source, offer.price.unit)
        projection.agree(ws, what, ws.spec.budget, price, wanted.max_uptime)
        return
    _require_prices(ws, name, count, found)
    ws.narrate(
        f"{what} at {dollars((micro or 0) * count, per_hour=True)}, runs up to {dollars(ceiling)}"
    )
    limit = ws.spec.budget.ask_above
    if limit is not None and ceiling > limit * _MICRO:
        ws.approve(
            f"{what}: up to {dollars(ceiling)}, above your ${limit:g} (budget.ask_above). Begin?"
        )


def _require_unwatched(given: Mapping[str, bool]) -> None:
    """UsageError for an option that is kept by watching the workers."""
    for option in (each for each in given if given[each]):
        raise UsageError(
            f"{option} watches the workers, and with --detach nobody does",
            means="nothing was started",
            fix="leave out one of them",
        )


def _require_prices(ws: Workspace, name: str, count: int, found: Iterable[Candidate]) -> None:
    """UsageError where what a worker would be, or a box that is there already, has no known
    price."""
    unknown = [
        f"{wanted.provider} {offer.hardware.name}"
        for wanted, offer in found
        if offer.price.micro_per_hour is None
    ]
    there = (ws.store.boxes.own(f"{name}-{number}", ws.here) for number in range(1, count + 1))
    live = (box for box in there if box and not box.state.is_over)
    unknown += [box.name for box in live if box.price.micro_per_hour is None]
    if unknown:
        raise UsageError(
            f"the price of {unknown[0]} is unknown, so that --max-cost cannot be kept",
            means="nothing was started",
            fix="choose hardware with a known price (devbox offers), or leave out --max-cost",
        )

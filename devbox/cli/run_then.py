"""`devbox run --up --then`: the box brought up for a run, and stopped after it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from devbox.cli.common import F, echo, print_json
from devbox.errors import DevboxError

if TYPE_CHECKING:
    from pathlib import Path

    from devbox.jobs.follow import Ended
    from devbox.lifecycle.then import Order
    from devbox.model import Box
    from devbox.wire.messages import End
    from devbox.workspace import Workspace

TAKE_BACK = "none"


def then_option(function: F) -> F:
    return click.option(
        "--then",
        type=click.Choice(["pause", "down", TAKE_BACK]),
        help="What the box does with itself once this run and all others on it have ended.",
    )(function)


def wanted(then: str | None) -> End | None:
    return None if then in (None, TAKE_BACK) else then  # type: ignore[return-value]


def plan(ws: Workspace, then: str | None, name: str | None, *, up: bool, stays: bool) -> None:
    """Refuse, before anything costs, what the box that will be used cannot do, wherever it may
    come to live."""
    from devbox import spec
    from devbox.errors import NotFound
    from devbox.lifecycle import then as after_run

    end = wanted(then)
    if not end:
        return
    try:
        box = ws.box(name)
    except NotFound:
        if not up:
            raise
    else:
        if not box.state.is_over:
            after_run.order(ws, end, box, box.name, stays=stays)
            return
    known, table = ws.spec.box(name)
    for each in spec.choices(table):
        after_run.order(ws, end, each, known, stays=stays)


def bring_up(ws: Workspace, name: str | None) -> Box:
    """The box, running."""
    from devbox import lifecycle
    from devbox.cli.steps import shown

    with shown(ws):
        return lifecycle.up(ws, name)


@contextmanager
def costing(ws: Workspace, box: Box, *, up: bool) -> Iterator[None]:
    """Where the block fails after the box was brought up for it, the error says what that costs."""
    try:
        yield
    except DevboxError as error:
        if up:
            from devbox.money import exposure

            runs = f"{box.name} is up: {exposure.of(ws, box).sentence}"
            error.means = "; ".join(filter(None, (runs, error.means)))
        raise


def order(ws: Workspace, then: str | None, box: Box, *, stays: bool) -> Order | None:
    """What is ordered with a run on this box, told; what was ordered before is taken back where
    that is asked for."""
    from devbox.lifecycle import then as after_run
    from devbox.remote.preconditions import check_running

    if then == TAKE_BACK:
        _taken_back(ws, box)
    end = wanted(then)
    if not end:
        return None
    check_running(box)
    found = after_run.order(ws, end, box, box.name, stays=stays)
    for line in found.lines:
        ws.narrate(line)
    return found


def change(ws: Workspace, then: str, name: str | None, *, as_json: bool) -> None:
    """`devbox run --then` without a job: order it for the run under way, or take it back."""
    from devbox.lifecycle import then as after_run

    box = ws.box(name)
    end = wanted(then)
    run = after_run.change(ws, box, end) if end else _taken_back(ws, box)
    if as_json:
        print_json("then", box=box.name, then=end, run=run or None)
    elif end:
        echo(run)


def finish(ws: Workspace, ended: Ended, dest: Path | None, *, as_json: bool, quiet: bool) -> None:
    """Report a run that has ended, then do what was ordered with it, however it ended."""
    from devbox.cli import run_report
    from devbox.errors import JobFailed
    from devbox.lifecycle import then as after_run

    failed: JobFailed | None = None
    with after_run.fetching(ws, ended.run):
        try:
            run_report.report(ws, ended, dest, as_json=as_json, quiet=quiet)
        except JobFailed as error:
            failed = error
    try:
        _stop(ws, ended)
    finally:
        if failed:
            raise failed


def _stop(ws: Workspace, ended: Ended) -> None:
    from devbox.cli import common
    from devbox.cli.steps import shown
    from devbox.lifecycle import then as after_run
    from devbox.money import exposure

    with shown(ws):
        box = after_run.carry_out(ws, ended.run)
    if box:
        ws.narrate(f"{box.name} {box.state}; costing: {common.costing(exposure.of(ws, box))}")


def _taken_back(ws: Workspace, box: Box) -> str:
    from devbox.lifecycle import then as after_run

    run = after_run.change(ws, box, None)
    was = f"no longer stops after run {run}" if run else "was not to stop after a run"
    ws.narrate(f"{box.name}: it {was}; its idle pause and max_uptime hold")
    return run

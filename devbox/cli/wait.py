"""`devbox wait`: until a run or a box is in a state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from devbox.cli.common import echo, json_option, print_json, quiet_option, workspace
from devbox.cli.following import following
from devbox.cli.runs import batch_of
from devbox.errors import UsageError

if TYPE_CHECKING:
    from devbox.model import Box, Run
    from devbox.workspace import Workspace


@click.command("wait")
@click.argument("name", metavar="[RUN|BOX]", required=False)
@click.option("--for", "states", metavar="STATE[,STATE…]", multiple=True,
              help="Default: ended for a run, running for a box.")  # fmt: skip
@click.option("--timeout", metavar="DURATION", help="Wait at most this long, such as 2h.")
@json_option
@quiet_option
def wait_command(
    name: str | None, states: tuple[str, ...], timeout: str | None, as_json: bool, quiet: bool
) -> None:
    """Wait until RUN (default: the latest), or BOX, is in one of these states. A connection that is
    lost meanwhile is made again. It fetches and changes nothing.

    \b
    states of runs   queued running succeeded failed cancelled; ended: any end
    states of boxes  running paused … as devbox ls says; ended: any end
    exit code 0      it is in that state
              5      it no longer can be: the box ended, or a run's is paused
              11     the run ended in another state
              124    the time was over first
    \b
    devbox wait train-20261122-151203-x7f2 --for succeeded && devbox down gpu
    devbox wait gpu --for paused,ended --timeout 2h
    """
    from devbox.lifecycle import wait
    from devbox.text import parse_duration

    ws = workspace(quiet=quiet or as_json)
    try:
        limit = None if timeout is None else parse_duration(timeout)
    except ValueError as error:
        raise UsageError(str(error), fix="for example: devbox wait --timeout 2h") from None
    wanted = tuple(word for each in states for word in each.split(",") if word)
    began = ws.clock()
    box, run = _found(ws, name)
    with following():
        if box:
            box = wait.for_box(ws, box, wanted or ("running",), limit)
        elif run:
            run = wait.for_run(ws, run, wanted or (wait.ENDED,), limit)
    state = str(box.state if box else run.state if run else "")
    if as_json:
        fields = {"box": box.name if box else run.box_name if run else ""}
        fields |= {"run": run.id} if run else {}
        print_json("wait", **fields, state=state, seconds=ws.clock() - began)
    else:
        echo(state)


def _found(ws: Workspace, name: str | None) -> tuple[Box | None, Run | None]:
    """What is meant: a run of that very id, a box, or a run whose id begins so."""
    from devbox.errors import NotFound
    from devbox.jobs import queries

    if batch := batch_of(ws, name):
        raise UsageError(
            f"{batch.id} is a batch, and wait is for a run on one box or for a box",
            means="nothing was changed; a batch is worked on only while it is attached",
            fix=f"devbox attach {batch.id}; its exit code tells how the batch ended",
        )
    exact = ws.store.runs.get(name) if name else None
    if exact or name is None:
        return None, exact or queries.find(ws, None)
    try:
        return ws.box(name), None
    except (NotFound, UsageError) as error:
        try:
            return None, queries.find(ws, name)
        except NotFound:
            raise error from None

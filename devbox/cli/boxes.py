"""Verbs that start, keep and end boxes: up, pause, resume, down, keep, reconcile."""

from __future__ import annotations

import click
import msgspec

from devbox import lifecycle, spec
from devbox.cli import up_options
from devbox.cli.common import (
    approve,
    box_argument,
    complete_gpus,
    complete_hardware,
    confirm,
    costing,
    echo,
    json_option,
    print_json,
    provider_option,
    quiet_option,
    result,
    typed,
    verbose_option,
    workspace,
    yes_option,
)
from devbox.cli.steps import shown
from devbox.errors import DevboxError, UsageError
from devbox.model import Box
from devbox.money import exposure
from devbox.text import parse_duration
from devbox.workspace import Workspace


@click.command("up")
@box_argument()
@provider_option("Where it lives; several in order.", multiple=True)
@click.option("--hardware", metavar="NAME", multiple=True, shell_complete=complete_hardware,
              help="This hardware of the provider; several in order.")  # fmt: skip
@click.option("--gpu", metavar="NAME", help="The cheapest with this GPU, such as L40S or A100:2.",
              shell_complete=complete_gpus)  # fmt: skip
@click.option("--vram", metavar="SIZE", help="The cheapest with this much GPU memory.")
@click.option(
    "--max-price", type=click.FloatRange(0), metavar="DOLLARS", help="At most this an hour."
)
@click.option("--image", metavar="NAME", help="This image (devbox image ls).")
@click.option("--host", metavar="TARGET", help="This machine of yours, as ssh takes it.")
@click.option("--max-uptime", metavar="DURATION", help="It ends after this, whatever it does.")
@click.option("--no-wait", is_flag=True, help="Return once the provider has accepted.")
@click.option("--timeout", metavar="DURATION", help="Wait this long for it to start, such as 90s.")
@click.option("--wait-for-capacity", metavar="DURATION", help="Keep trying while none is free.")
@click.option("--no-sync", is_flag=True, help="Do not sync up once it runs.")
@click.option("--no-setup", is_flag=True, help="Do not run what its setup has left.")
@yes_option
@json_option
@quiet_option
@verbose_option
def up_command(
    box_name: str | None,
    no_wait: bool,
    timeout: str | None,
    wait_for_capacity: str | None,
    no_sync: bool,
    no_setup: bool,
    yes: bool,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **wanted: object,
) -> None:
    """Bring BOX of devbox.toml up, or finish bringing it up, send the project's files, and run what
    is left of its setup.

    Says first what it costs at most until its max_uptime, and asks above `budget.ask_above` of your
    config.

    Of several choices the first with free hardware is taken, each after capacity_timeout at most.
    --wait-for-capacity goes round them until one is free, at no cost meanwhile; Ctrl-C takes back
    what was asked for.

    A box that was made from an earlier devbox.toml follows it where it can (idle, sync, a lower
    max_uptime); what it cannot follow is named, with the command for it.

    \b
    devbox up               the only box of devbox.toml
    devbox up train         the box of [boxes.train]
    devbox up --gpu L40S --max-uptime 2h
    devbox up --provider modal --gpu L40S      in a folder without devbox.toml
    devbox up --provider hf-job --provider modal --gpu L4 --wait-for-capacity 2h
    """
    ws = workspace(quiet=quiet)
    ways = {"no-wait": no_wait, "timeout": timeout, "wait-for-capacity": wait_for_capacity,
            "no-sync": no_sync, "no-setup": no_setup, "json": as_json}  # fmt: skip
    approve(ws, "up", {"": box_name, **wanted, **ways}, yes=yes)
    ws.start_timeout = _seconds(timeout, "devbox up --timeout 90s") if timeout else None
    if ws.start_timeout == 0:
        raise UsageError("--timeout must be above 0", fix="for example: devbox up --timeout 90s")
    until = "devbox up --wait-for-capacity 2h"
    for_capacity = _seconds(wait_for_capacity, until) if wait_for_capacity else None
    if for_capacity == 0:
        raise UsageError("--wait-for-capacity must be above 0", fix=f"for example: {until}")
    if changes := up_options.changes(wanted):
        if ws.spec.file is None and "provider" in changes:
            box_name = up_options.without_a_file(ws, box_name)
        ws.spec = ws.spec.with_changes(box_name, changes)
    has_file = ws.spec.file is not None
    sync, sets_up = has_file and not (no_sync or no_wait), not (no_setup or no_wait)
    after = (*(("sync",) if sync else ()), *(setup_stage(ws) if sets_up else ()))
    with shown(ws, verbose=verbose, after=after):
        box = lifecycle.up(ws, box_name, wait=not no_wait, for_capacity=for_capacity)
        if sync:
            _send(ws, box)
        if sets_up:
            from devbox.jobs import setup

            ws.on_stage("setup")
            setup.bring(ws, box)
            setup.offer(ws, box)
    if not (has_file or no_wait):
        ws.narrate(f"{box.name}: no devbox.toml here, so no files are sent (devbox cp copies some)")
    report(ws, box, as_json)


@click.command("resume")
@box_argument()
@yes_option
@json_option
@quiet_option
@verbose_option
def resume_command(
    box_name: str | None, yes: bool, as_json: bool, quiet: bool, verbose: bool
) -> None:
    """Bring a paused BOX back. Asks first as `up` does."""
    ws = workspace(quiet=quiet)
    approve(ws, "resume", {"": box_name, "json": as_json}, yes=yes)
    with shown(ws, verbose=verbose, after=setup_stage(ws)):
        box = set_up_again(ws, lifecycle.resume(ws, ws.box(box_name)))
    report(ws, box, as_json)


@click.command("keep")
@box_argument(then="DURATION")
@json_option
def keep_command(words: tuple[str, ...], as_json: bool) -> None:
    """Hold off the idle pause of BOX for DURATION, such as 30m or 2h.

    The only box needs no name.
    """
    *named, time = words
    if len(named) > 1:
        raise UsageError("keep takes one box and a duration", fix="devbox keep train 2h")
    seconds = _seconds(time, "devbox keep train 2h")
    ws = workspace(quiet=as_json)
    box = ws.box(named[0] if named else None)
    until = lifecycle.keep(ws, box, seconds)
    if as_json:
        print_json("keep", box=box.name, until=until)


@click.command("reconcile")
@provider_option("Only this provider.")
@click.option("--adopt", "strangers", flag_value="adopt", help="Track what others started.")
@click.option("--remove", "strangers", flag_value="remove", help="End what nobody tracks.")
@yes_option
@json_option
@quiet_option
def reconcile_command(
    provider: str | None, strangers: str | None, yes: bool, as_json: bool, quiet: bool
) -> None:
    """Compare with the providers; finish what a crash left open, list what nobody tracks."""
    ws = workspace(quiet=quiet or as_json)
    if strangers == "remove":
        confirm("End everything with our tag that this computer does not track?", yes=yes)
    findings = lifecycle.reconcile(ws, provider=provider, wanted=strangers or "list")  # type: ignore[arg-type]
    if as_json:
        print_json("reconcile", findings=[msgspec.to_builtins(f) for f in findings])
    for finding in () if as_json else findings:
        echo(f"{finding.kind:10} {finding.provider:9} {finding.name}: {finding.detail}")
    lifecycle.require_answered(findings)
    if not findings and not as_json:
        result("everything agrees with the providers")


def _send(ws: Workspace, box: Box) -> None:
    """Sync up after `up`; an error says that the box is up all the same."""
    from devbox.sync import before

    ws.on_stage("sync")
    try:
        before.send(ws, box)
    except DevboxError as error:
        runs = f"{box.name} is up: {exposure.of(ws, box).sentence}"
        error.means = "; ".join(filter(None, (runs, error.means)))
        raise


def setup_stage(ws: Workspace) -> tuple[str, ...]:
    """The stage of a box's setup, where a box of this project has one."""
    some = any(wanted.setup or wanted.dotfiles for wanted in ws.spec.boxes.values())
    return ("setup",) if some else ()


def set_up_again(ws: Workspace, box: Box) -> Box:
    """After a verb that may have given the box a new disk: the project's files and its setup, where
    some of that is left."""
    from devbox.jobs import setup
    from devbox.sync import new_disk

    if box.state != "running":
        return box
    left = setup.is_left(ws, box)
    if left or new_disk.is_new(box):
        _send(ws, box)
    if left:
        ws.on_stage("setup")
        setup.bring(ws, box)
    return box


def _seconds(text: str, example: str) -> float:
    """A duration that was typed. example: a command that would do."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(str(error), fix=f"for example: {example}") from None


def report(ws: Workspace, box: Box, as_json: bool) -> None:
    if as_json:
        from devbox.cli.show import box_fields

        print_json("box", **box_fields(ws, box))
        return
    lines = [f"{box.name}  {box.state}" + (f"  {box.detail}" if box.detail else "")]
    if spec.is_headless(box) and not box.state.is_over:
        lines.append(f"log:     devbox logs --box {typed(ws, box)} -f")
    elif box.state == "running":
        lines.append(f"shell:   ssh {box.alias}    editor: devbox code {typed(ws, box)}")
    result(*lines, f"costing: {costing(exposure.of(ws, box))}")

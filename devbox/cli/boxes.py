"""Verbs that change boxes: up, pause, resume, down, keep, reconcile."""

from __future__ import annotations

import click
import msgspec

from devbox import lifecycle, spec
from devbox.cli.common import (
    box_argument,
    confirm,
    json_option,
    print_json,
    quiet_option,
    workspace,
    yes_option,
)
from devbox.errors import UsageError
from devbox.model import Box
from devbox.text import dollars, parse_duration
from devbox.workspace import Workspace


@click.command("up")
@box_argument()
@click.option("--no-wait", is_flag=True, help="Return once the provider has accepted.")
@json_option
@quiet_option
def up_command(box_name: str | None, no_wait: bool, as_json: bool, quiet: bool) -> None:
    """Bring BOX of devbox.toml up, or finish bringing it up.

    \b
    devbox up               the only box of devbox.toml
    devbox up train         the box of [boxes.train]
    """
    ws = workspace(quiet=quiet)
    box = lifecycle.up(ws, box_name, wait=not no_wait)
    _report(ws, box, as_json)


@click.command("resume")
@box_argument()
@json_option
@quiet_option
def resume_command(box_name: str | None, as_json: bool, quiet: bool) -> None:
    """Bring a paused BOX back."""
    ws = workspace(quiet=quiet)
    _report(ws, lifecycle.resume(ws, ws.box(box_name)), as_json)


@click.command("pause")
@box_argument()
@click.option("--no-save", is_flag=True, help="Do not sync down first.")
@json_option
@quiet_option
def pause_command(box_name: str | None, no_save: bool, as_json: bool, quiet: bool) -> None:
    """Stop paying for BOX and keep its files, after fetching what the sync rules name."""
    ws = workspace(quiet=quiet)
    _report(ws, lifecycle.pause(ws, ws.box(box_name), save=not no_save), as_json)


@click.command("down")
@box_argument()
@yes_option
@click.option("--no-save", is_flag=True, help="Do not sync down first.")
@click.option("--forget", is_flag=True, help="Give up on it when its end cannot be confirmed.")
@json_option
@quiet_option
def down_command(
    box_name: str | None, yes: bool, no_save: bool, forget: bool, as_json: bool, quiet: bool
) -> None:
    """End BOX for good, with its files. Says first what is not on this computer.

    --forget is for a box whose machine or account is gone for good: it is ended if that is still
    possible, and else no longer tracked. Says first what may go on without devbox.
    """
    ws = workspace(quiet=quiet)
    box = ws.box(box_name)
    if not box.state.is_over and forget:
        for line in lifecycle.warnings(ws, box):
            click.echo(line, err=True)
        confirm(f"End {box.name}, or give up on it?", yes=yes)
        box = lifecycle.forget(ws, box)
        if box.state == "lost" and not as_json:
            click.echo(f"{box.name}  {box.state}  {box.message}")
            return
    elif not box.state.is_over:
        for line in lifecycle.losses(ws, box):
            click.echo(line, err=True)
        what = ws.provider_of(box).end_means(spec.decode_box(box.spec))
        confirm(f"End {box.name} and {what}?", yes=yes)
        box = lifecycle.down(ws, box, save=not no_save)
    _report(ws, box, as_json)


@click.command("restart")
@box_argument()
@click.option("--factory", is_flag=True, help="Build the image anew.")
@click.option("--no-save", is_flag=True, help="Do not sync down first.")
@json_option
@quiet_option
def restart_command(
    box_name: str | None, factory: bool, no_save: bool, as_json: bool, quiet: bool
) -> None:
    """Start BOX's app anew, after edits made on it; files outside volumes may be lost."""
    ws = workspace(quiet=quiet)
    box = lifecycle.restart(ws, ws.box(box_name), factory=factory, save=not no_save)
    _report(ws, box, as_json)


@click.command("hardware")
@box_argument(required=True)
@click.argument("hardware")
@click.option("--no-save", is_flag=True, help="Do not sync down first.")
@json_option
@quiet_option
def hardware_command(
    box_name: str, hardware: str, no_save: bool, as_json: bool, quiet: bool
) -> None:
    """Move BOX to other HARDWARE of its provider (devbox offers)."""
    ws = workspace(quiet=quiet)
    box = lifecycle.change_hardware(ws, ws.box(box_name), hardware, save=not no_save)
    _report(ws, box, as_json)


@click.command("succeed")
@box_argument()
@click.option("--no-save", is_flag=True, help="Do not sync down first.")
@json_option
@quiet_option
def succeed_command(box_name: str | None, no_save: bool, as_json: bool, quiet: bool) -> None:
    """Go on past the provider's longest life: a successor of BOX with the same files."""
    ws = workspace(quiet=quiet)
    _report(ws, lifecycle.succeed(ws, ws.box(box_name), save=not no_save), as_json)


@click.command("keep")
@box_argument(required=True)
@click.argument("time", metavar="DURATION")
@json_option
def keep_command(box_name: str, time: str, as_json: bool) -> None:
    """Hold off the idle pause of BOX for DURATION, such as 30m or 2h."""
    try:
        seconds = parse_duration(time)
    except ValueError as error:
        raise UsageError(str(error), fix="for example: devbox keep train 2h") from None
    ws = workspace(quiet=as_json)
    until = lifecycle.keep(ws, ws.box(box_name), seconds)
    if as_json:
        print_json("keep", box=box_name, until=until)


@click.command("reconcile")
@click.option("--provider", metavar="NAME", help="Only this provider.")
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
        return
    for finding in findings:
        click.echo(f"{finding.kind:10} {finding.provider:9} {finding.name}: {finding.detail}")
    if not findings:
        click.echo("everything agrees with the providers")


def _report(ws: Workspace, box: Box, as_json: bool) -> None:
    interval = ws.store.ledger.current(box.id)
    if as_json:
        from devbox.cli.show import box_fields

        print_json("box", **box_fields(ws, box))
        return
    click.echo(f"{box.name}  {box.state}" + (f"  {box.message}" if box.message else ""))
    if spec.is_headless(box) and not box.state.is_over:
        click.echo(f"log:     devbox logs --box {box.name} -f")
    elif box.state == "running":
        click.echo(f"shell:   ssh {box.alias}    editor: devbox code {box.name}")
    if interval:
        rate = dollars(interval.price.micro_per_hour, per_hour=True)
        click.echo(f"costing: {rate} ({interval.price.source})")
    elif box.state.is_settled:
        click.echo("costing: nothing")

"""`devbox doctor`: check this machine, or a box."""

from __future__ import annotations

import sys

import click

from devbox import doctor
from devbox.cli.common import box_argument, json_option, print_json, workspace

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command("doctor")
@box_argument()
@json_option
def doctor_command(box_name: str | None, as_json: bool) -> None:
    """Check this machine; with BOX, that box. Each line says ok, warn or fail, and the fix.

    Exit code 1 when anything failed.
    """
    ws = workspace(quiet=as_json)
    checks = doctor.laptop(ws) if box_name is None else doctor.box(ws, ws.box(box_name))
    if as_json:
        print_json("doctor", box=box_name, checks=[check._asdict() for check in checks])
    else:
        for check in checks:
            click.echo(
                f"{click.style(check.level.ljust(4), fg=_COLOURS[check.level])}  {check.what}"
            )
            if check.fix and check.level != "ok":
                click.echo(f"      fix: {check.fix}")
    if any(check.level == "fail" for check in checks):
        sys.exit(1)

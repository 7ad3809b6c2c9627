"""`devbox doctor`: check this machine, or a box."""

from __future__ import annotations

import sys

import click

from devbox import doctor, lifecycle
from devbox.cli.common import (
    box_argument,
    echo,
    json_option,
    narrate,
    print_json,
    silent,
    workspace,
)
from devbox.errors import SpecError
from devbox.guard import report
from devbox.spec import Spec
from devbox.wire.messages import Check
from devbox.workspace import Workspace

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red", "unknown": "cyan"}


@click.command("doctor")
@box_argument()
@click.option("--fix", is_flag=True, help="Rebuild a damaged state file from the providers.")
@json_option
def doctor_command(box_name: str | None, fix: bool, as_json: bool) -> None:
    """Check this machine; with BOX, that box. Each line says ok, warn, fail or unknown, and the
    fix.

    --fix moves a damaged state file aside, keeps what can be read of it, and tracks again the
    boxes that the providers have with devbox's tag.

    Exit code 1 when anything failed.
    """
    checks = []
    try:
        ws = workspace(quiet=as_json)
    except SpecError as error:
        # The configuration may be what is wrong; the rest is still worth a look.
        checks.append(Check("fail", error.what, error.fix))
        ws = Workspace(Spec(), narrate=silent if as_json else narrate)
    if fix:
        for line in lifecycle.repair(ws):
            echo(line, err=True)
    if box_name is None:
        checks += [*doctor.laptop(ws), *doctor.guarded(lambda: [report.check(ws)])]
    else:
        checks += doctor.box(ws, ws.box(box_name))
    if as_json:
        print_json("doctor", box=box_name, checks=[check._asdict() for check in checks])
    else:
        for check in checks:
            tell(check)
    if any(check.level == "fail" for check in checks):
        sys.exit(1)


def tell(check: Check) -> None:
    """One finding, and what to do about it."""
    echo(check.level.ljust(7), nl=False, fg=_COLOURS[check.level])
    echo(f"  {check.what}")
    if check.fix and check.level != "ok":
        echo(f"         fix: {check.fix}")

"""`devbox ui`: the dashboard, in this terminal or in a browser."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from devbox import installation
from devbox.cli.common import echo
from devbox.errors import ToolMissing, UsageError


@click.command("ui")
@click.option("--readonly", is_flag=True, help="Look only: nothing can be started or ended.")
@click.option("--web", is_flag=True, help="Serve it to a browser on this machine.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Port for --web (default: a free one)."
)
def ui_command(readonly: bool, web: bool, port: int) -> None:
    """All boxes on one screen: GPUs, jobs, logs, files, cost; and the daily work on them.

    \b
    devbox ui                 ? shows all keys; q leaves, work continues
    devbox ui --readonly      only look
    devbox ui --web           in a browser of this machine: prints a link
    """
    if not web and not _has_terminal():
        raise UsageError(
            "the dashboard needs a terminal, and this is none",
            fix="devbox ui --web for a browser; devbox ls and devbox status print",
        )
    _offer_trust()
    try:
        if web:
            from devbox.tui.web import serve

            serve(readonly=readonly, port=port)
            return
        from devbox.tui.start import run
    except ImportError as error:
        extra = "web" if web else "ui"
        raise ToolMissing(
            f"the dashboard needs {error.name}, which is not installed",
            fix=installation.fix_extra(extra),
        ) from error
    left = run(Path.cwd().absolute(), readonly=readonly)
    if left:
        echo(f"still under way without the dashboard: {', '.join(left)}", err=True)
        echo("watch it with: devbox ui, or devbox ls", err=True)


def _has_terminal() -> bool:
    """Whether it can draw: on a terminal, or through the driver textual-serve names in the
    environment of each dashboard it starts (textual_serve.app_service)."""
    return "TEXTUAL_DRIVER" in os.environ or (sys.stdin.isatty() and sys.stdout.isatty())


def _offer_trust() -> None:
    """Ask before the dashboard has the terminal; without trust it refuses what needs it."""
    from devbox import spec
    from devbox.cli import trust
    from devbox.spec.trust import refusal

    found = spec.load(spec.find(Path.cwd()))
    if found.file and found.withheld:
        trust.ask(refusal(found.file, found.withheld))

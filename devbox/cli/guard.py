"""`devbox guard` and `devbox schedule`: what looks after boxes and times when nobody types."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from devbox.cli.common import echo, json_option, print_json, result, workspace

if TYPE_CHECKING:
    from devbox.guard import report


@click.command("guard")
@click.option("--install", "what", flag_value="install", help="Have it run whenever you are here.")
@click.option("--uninstall", "what", flag_value="uninstall", help="Take that back.")
@click.option("--status", "what", flag_value="status", help="Whether one runs, and its last look.")
@json_option
def guard_command(what: str | None, as_json: bool) -> None:
    """Look after boxes and schedules from this computer, in the foreground until Ctrl-C.

    Nothing needs it: the watchdog on a box and its provider guard it too. It keeps what
    they cannot, such as schedules and the max_uptime of a Space without a pause token.

    \b
    devbox guard                     in this terminal
    devbox guard --install           as a service of yours (systemd, launchd)
    devbox guard --status
    """
    from devbox.guard import entries, place

    if what == "status":
        _status(as_json)
        return
    if what is None and place.running() is not None:
        os.close(place.hold())  # raises, and names the one that runs
    ws = workspace(quiet=True)
    if entries.of(ws.spec):
        entries.remember(ws.spec.root)
    if what is None:
        from devbox.guard import unit

        ws.close()
        sys.stdout.flush()
        os.execv(sys.executable, unit.argv(sys.executable))  # noqa: S606
    _service(what, as_json)


@click.command("schedule")
@json_option
def schedule_command(as_json: bool) -> None:
    """List what this project wants at which times: when next, what keeps it, and what became of it.

    \b
    [boxes.dev]
    schedule = "0 8 * * 1-5"         up at 8:00 from Monday to Friday
    pause_at = "20:00"               paused then, unless it is in use
    """
    from devbox.guard import entries, report

    ws = workspace(quiet=as_json)
    lines, running = report.schedules(ws), report.guard().process is not None
    kept = "guard" if running else "nothing"
    withheld = [key for key in ws.spec.withheld if key.rpartition(".")[2] == "schedule"]
    if lines:
        entries.remember(ws.spec.root)
    if as_json:
        rows = [
            {
                "verb": line.entry.verb,
                "name": line.entry.name,
                "box": line.entry.box,
                "schedule": line.entry.written,
                "timezone": line.entry.zone,
                "next": line.next,
                "kept_by": kept,
                "outcome": line.outcome,
            }
            for line in lines
        ]
        print_json("schedule", schedules=rows, withheld=withheld)
        return
    for key in withheld:
        echo(f"{key} does not count before: devbox trust", err=True)
    if not lines:
        result("this project has no schedules (docs/guard.md)", err=True)
        return
    _table(lines, kept)
    if not running:
        echo("no guard runs, so nothing keeps them: devbox guard --install", err=True)


def _table(lines: list[report.Line], kept: str) -> None:
    from devbox.guard import keep

    rows = [("what", "when", "next", "kept by", "last")]
    for line in lines:
        entry = line.entry
        what = f"run {entry.name}" if entry.verb == "run" else f"{entry.verb} {entry.box}"
        coming = "never" if line.next is None else keep.at(entry, line.next)
        rows.append((what, entry.written, coming, kept, line.outcome or "–"))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        echo("  ".join([*cells, row[4]]).rstrip())


def _status(as_json: bool) -> None:
    import time

    from devbox.guard import report
    from devbox.text import duration

    found = report.guard()
    if as_json:
        last = found.last
        print_json(
            "guard",
            process=found.process,
            installed=str(found.file) if found.file else None,
            last=last.at if last else None,
            next=last.next if last else None,
            problems=list(last.problems) if last else [],
        )
        return
    service = f"installed as {found.file}" if found.file else "not installed as a service"
    runs = "no guard runs" if found.process is None else f"a guard runs (process {found.process})"
    echo(f"{runs}, {service}")
    if found.last:
        now = time.time()
        echo(f"last look {duration(max(0.0, now - found.last.at))} ago")
        if found.last.next is not None and found.process is not None:
            echo(f"next schedule or max_uptime in {duration(max(0.0, found.last.next - now))}")
        for problem in found.last.problems:
            echo(f"  {problem}")


def _service(what: str, as_json: bool) -> None:
    from devbox.guard import install

    if what == "install":
        service = install.install()
        said = f"the guard runs as {service.name}; it was written to {service.file}"
        file = str(service.file)
    else:
        taken = install.uninstall()
        said = f"{taken.file} is gone, and its guard ended" if taken else "it was not installed"
        file = str(taken.file) if taken else ""
    if as_json:
        print_json("guard-service", action=what, file=file)
        return
    result(said)

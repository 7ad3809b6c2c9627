"""Sends a project to its box before something runs there, so that what runs is what is here."""

from __future__ import annotations

import os
import shlex

from devbox.errors import DevboxError, SshError, UsageError
from devbox.model import Box, BoxState
from devbox.spec import FILE_NAME, is_headless
from devbox.sync import rsync
from devbox.sync.compare import IN_THE_WAY, NEWER_THERE
from devbox.sync.rsync import Report
from devbox.text import counted, size
from devbox.workspace import Workspace

_SHOWN = 5


def send(ws: Workspace, box: Box) -> Report | None:
    """`sync up` of the box's project, told in a line when anything moved or was left as it is.
    None where there is no project to send: no devbox.toml, or one in the home folder itself.

    Raises as `rsync.up`; what ends the sync is told together with how to do without it.
    """
    if box.state is not BoxState.RUNNING or is_headless(box):
        return None
    project = ws.project_of(box)
    if not os.path.isfile(project.root / FILE_NAME):
        return None
    try:
        report = rsync.up(ws, box)
    except UsageError as error:
        ws.narrate(f"{box.name}: the project was not sent: {error.what}")
        return None
    except DevboxError as error:
        if isinstance(error, SshError):
            error.box = error.box or box.id
        error.fix = "; ".join(filter(None, (error.fix, "or do without: --no-sync")))
        raise
    if report.moved:
        count = counted(len(report.moved), "file")
        ws.narrate(f"{box.name}: sent {count} ({size(report.bytes)}) of {project.root}")
    _tell_kept(ws, box.name, report)
    return report


def _tell_kept(ws: Workspace, name: str, report: Report) -> None:
    newer = [kept.path for kept in report.kept if kept.why == NEWER_THERE]
    if newer:
        ws.narrate(f"{name}: newer there, and left as it is: {_some(newer)}")
        these = " --path ".join(shlex.quote(path) for path in newer[:_SHOWN])
        ws.narrate(
            f"  fetch: devbox sync down {name}; replace: "
            f"devbox sync up --force --path {these} {name}"
        )
    blocked = [kept.path for kept in report.kept if kept.why == IN_THE_WAY]
    if blocked:
        ws.narrate(f"{name}: not sent: {_some(blocked)} ({IN_THE_WAY})")
        ws.narrate(f"  rename it here, or on the box: devbox ssh {name}")


def _some(paths: list[str]) -> str:
    more = len(paths) - _SHOWN
    return ", ".join(paths[:_SHOWN]) + (f" and {more} more" if more > 0 else "")

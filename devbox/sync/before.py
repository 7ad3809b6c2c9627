"""Sends a project to its box before something runs there, so that what runs is what is here."""

from __future__ import annotations

import os

from devbox.errors import DevboxError, SshError, UsageError
from devbox.model import Box, BoxState
from devbox.spec import FILE_NAME, is_headless
from devbox.sync import rsync
from devbox.sync.report import Report
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
    if report.kept:
        named = ", ".join(kept.path for kept in report.kept[:_SHOWN])
        more = len(report.kept) - _SHOWN
        ws.narrate(
            f"{box.name}: newer there, and left as it is: {named}"
            + (f" and {more} more" if more > 0 else "")
        )
        ws.narrate(f"  fetch: devbox sync down {box.name}; replace: devbox sync up --force")
    return report

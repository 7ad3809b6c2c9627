"""`sync up` and `sync down`: real rsync in both directions, with nobody's work overwritten.

Up is one rsync run with --update: a file that is newer on the box stays and is reported. Down
asks the box for its list first, then fetches exactly what it decided on: a file that was changed
here since the last sync stays and is reported. Neither deletes anything unless asked, and then
exactly the files that were shown, however the trees change meanwhile.
"""

from __future__ import annotations

from devbox.model import Box
from devbox.sync import target
from devbox.sync.progress import Progress
from devbox.sync.report import Kept, Report
from devbox.sync.sync_run import Options
from devbox.workspace import Workspace

__all__ = ["Kept", "Options", "Progress", "Report", "down", "up"]


def up(ws: Workspace, box: Box, options: Options | None = None) -> Report:
    """Send what changed here. Raises SyncError, SshError, Conflict (another sync up runs, or the
    box does not), UsageError; after any of them, and after Ctrl-C, every file on the box is
    whole."""
    from devbox.sync.push import Push

    where = target.find(ws, box)
    with target.locked(box, "up"):
        return Push(ws, box, where, options or Options()).run()


def down(ws: Workspace, box: Box, options: Options | None = None) -> Report:
    """Fetch what changed on the box. Raises as `up`."""
    from devbox.sync.pull import Pull

    where = target.find(ws, box)
    with target.locked(box, "down"):
        return Pull(ws, box, where, options or Options()).run()

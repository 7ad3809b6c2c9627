"""Files of runs up and down, over the rsync that `devbox sync` uses."""

from __future__ import annotations

import time
from collections.abc import Callable

from devbox.errors import SyncError
from devbox.sync import rsync_process
from devbox.sync.progress import Amount, Item, Meter, Progress
from devbox.workspace import Workspace

Tell = Callable[[Progress], None]
_SILENCE = 120  # seconds without a byte after which the connection counts as cut


def transfer(
    ws: Workspace, job: rsync_process.Job, *, total: int | None, tell: Tell | None = None
) -> None:
    """Run it to the end, resumed after each cut, also of a connection that hangs. total: bytes
    there are, if known.

    SyncError when not all of it arrived, SshError when the box cannot be reached.
    """
    meter = Meter(time.monotonic, lambda: total)

    def on_output(found: Item | Amount | None) -> None:
        if found is None:
            meter.cut()
        elif isinstance(found, Item):
            meter.item(found)
        else:
            meter.amount(found)
        if tell:
            tell(meter.progress())

    job = job._replace(extra=(*job.extra, f"--timeout={_SILENCE}"))
    done = rsync_process.run(job, sleep=ws.sleep, narrate=ws.narrate, on_output=on_output)
    if done.code:
        raise SyncError(
            f"not every file could be read: {done.said[-600:]}",
            means="what has arrived is kept; trying again continues from there",
            fix="make them readable, and leave them alone meanwhile",
        )

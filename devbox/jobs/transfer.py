"""Files of runs up and down: rsync over the box's ssh alias, resumed after a cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from devbox import process
from devbox.errors import SyncError
from devbox.ssh.command import rsh
from devbox.text import clean

# Exit codes of rsync(1) and ssh that a passing fault of the network gives.
_PASSING = (10, 12, 30, 35, 255)
_WAITS = (1.0, 2.0, 4.0, 8.0)  # seconds before each further try
_PARTIAL = ".devbox-partial"


def rsync(
    options: Sequence[str], source: str, target: str, *, sleep: Callable[[float], None]
) -> None:
    """Bring `source` to `target`, one of them "alias:path". What a cut left half-way is gone on
    with. SyncError says what rsync said."""
    argv = ["rsync", "-rt", f"--partial-dir={_PARTIAL}", "-e", rsh(), *options, "--"]
    for wait in (*_WAITS, None):
        done = process.run([*argv, source, target], timeout=None, check=False)
        if done.code == 0:
            return
        if done.code not in _PASSING or wait is None:
            raise SyncError(
                f"rsync ended with code {done.code}: {clean(done.err.strip()[-400:], 400)}",
                means="what has arrived is kept; trying again goes on from there",
            )
        sleep(wait)

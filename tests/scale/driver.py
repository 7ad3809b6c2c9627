"""`devbox` with one thing about it changed: driver.py CHANGE WORDS…

It is the real thing otherwise: real store, real boxes, real ssh.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from devbox.cli.main import main
from devbox.jobs import transfer
from devbox.remote import exec
from devbox.scale import team
from devbox.scale.merge import Beside
from devbox.sync import rsync_process

#: where it is, the next merge is the last
END = "end-after-a-merge"


def dies() -> None:
    """It is killed between merging a round's results and writing that down."""
    merge = team.merge  # type: ignore[attr-defined]

    def last(staged: Path, results: Path, mark: str) -> list[Beside]:
        found = merge(staged, results, mark)
        if Path(os.environ["DEVBOX_HOME"], END).exists():
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    team.merge = last  # type: ignore[attr-defined]


def waits(seconds: int) -> None:
    """So long for a box that says nothing."""
    exec._LOGIN = float(seconds)
    transfer._SILENCE = seconds
    rsync_process._QUIET = float(seconds)


if __name__ == "__main__":
    change = sys.argv.pop(1)
    if change == "dies":
        dies()
    else:
        waits(int(change))
    main()

"""Sees that waiting notices are posted, from the watchdog's loop, which it never holds up."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Optional

from devbox.box import run_command
from devbox.box.notices import outbox
from devbox.box.runs.process_group import python_command
from devbox.box.watchdog.deadline import Moment

_EVERY = 5.0  # seconds between two processes
_LONGEST = 300.0  # seconds one may take
_LAST = 8.0  # seconds that a pause waits for what is to be told before it


class Courier:
    """At most one process at a time."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._process: Optional[subprocess.Popen[bytes]] = None
        self._begun = float("-inf")

    def tick(self, now: Moment) -> None:
        """Begin to post what is due. OSError when no process can be started."""
        if self._process is not None:
            if self._process.poll() is None:
                if now.mono - self._begun > _LONGEST:
                    self._process.kill()
                return
            self._process = None
        if now.mono - self._begun < _EVERY or not outbox.is_due(self._root, now.wall):
            return
        self._begun = now.mono
        self._process = subprocess.Popen(
            python_command("notices.post"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )


def post_now(root: Path, now: float) -> None:
    """Post what is due before this box stops, and wait for it, but not long."""
    if outbox.is_due(root, now):
        run_command.run(python_command("notices.post", "wait"), timeout=_LAST)

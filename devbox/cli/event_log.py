"""A verb's output as JSON lines for a program: `devbox --events FOLDER VERB …`, as the dashboard
runs verbs.

FOLDER gets log.jsonl, with one of these a line: {"say": text}, {"step": name}, {"progress": [done,
total or null], "note": text}, {"done": text}, {"error": {"what", "means", "fix"}}; and
process.json, which names this process. SIGTERM ends the verb with an error of its own.
"""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

from devbox.box import processes
from devbox.errors import DevboxError, Interrupted
from devbox.files import write_atomic
from devbox.tui.operation_manager import LOG, OWNER
from devbox.wire.codec import plain


class EventLog:
    """result: what `done` says; the last line that was said when a verb names none."""

    def __init__(self, folder: Path) -> None:
        # Whole or not there: another dashboard that begins now reads it.
        write_atomic(folder / OWNER, json.dumps(plain(processes.identity(os.getpid()))))
        self._file = (folder / LOG).open("a", encoding="utf-8", buffering=1)
        self._last = ""
        self.result = ""
        signal.signal(signal.SIGTERM, _interrupted)

    def write(self, **fields: object) -> None:
        self._file.write(json.dumps({"t": time.time(), **fields}) + "\n")

    def say(self, text: str) -> None:
        self._last = text
        self.write(say=text)

    def step(self, step: str, phase: str) -> None:
        if phase == "before":
            self.write(step=step)

    def done(self) -> None:
        self.write(done=self.result or self._last)

    def failed(self, error: DevboxError) -> None:
        self.write(error={"what": error.what, "means": error.means, "fix": error.fix})


def _interrupted(_: int, __: object) -> None:
    raise Interrupted("stopped", means="its state is kept", fix="devbox reconcile finishes it")

"""How many bytes people and their programs moved over ssh: what the idle policy reads."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

from devbox.providers.local.box_dir import replace

# devbox's own telemetry must not keep a box awake.
_OURS = re.compile(r"devbox-box\S*\s+(?:stream|verdict|job\s+follow)\b")


def is_ours(command: str | None) -> bool:
    """Whether a command is one of devbox's own streams."""
    return bool(command and _OURS.search(command))


class Traffic:
    """Counts of this life of the server, written to the box half's ssh.json when they change."""

    def __init__(self, path: Path) -> None:
        self.sessions = 0
        self.received = 0
        self.sent = 0
        self._path = path
        self._written = ""

    def write(self) -> None:
        """Write the file when a count has changed since it was last written."""
        counts = {"sessions": self.sessions, "rx_bytes": self.received, "tx_bytes": self.sent}
        content = json.dumps(counts)
        if content == self._written:
            return
        self._written = content
        try:
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
            replace(self._path, content)
        except OSError as error:
            # A full disk, or a user's file in its place: no reason for the server to end.
            logging.getLogger(__name__).warning("%s is not written: %s", self._path, error)

"""What the box is busy with by its own account: running jobs and served requests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import List, Optional

from devbox.box.json_file import number
from devbox.box.runs import folder

_LOOK_EVERY = 2.0  # seconds


class Jobs:
    """Ids of the runs that run right now, asked every other second."""

    def __init__(self) -> None:
        self._looked_at = float("-inf")
        self._active: List[str] = []

    def read(self, now: float) -> List[str]:
        if not 0 <= now - self._looked_at < _LOOK_EVERY:
            self._looked_at = now
            self._active = folder.active()
        return self._active


def requests(root: Path) -> Optional[int]:
    """The cumulative count in served.json; None when nothing serves here."""
    try:
        found = json.loads((root / "served.json").read_bytes()[:4096])
    except (OSError, ValueError, RecursionError):
        return None
    count = number(found.get("count")) if isinstance(found, dict) else None
    return None if count is None else int(count)

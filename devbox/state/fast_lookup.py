"""One question to the state file, answered without loading what a box is made of: `devbox exec`
asks it before it starts ssh, and 20 ms of imports are half of its time."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import NamedTuple


class Reachable(NamedTuple):
    """A box that can be logged in to, as far as was last known."""

    name: str
    alias: str


def reachable(state: Path, name: str, start: str) -> Reachable | None:
    """The box that `name` means in the folder `start`, when it runs and has an ssh address. None
    for anything else, a state file that cannot be read included, and where the name alone does
    not decide: the caller then asks `state.boxes`, which explains."""
    if not state.exists():
        return None
    try:
        connection = sqlite3.connect(state, timeout=5)
        try:
            rows = connection.execute(
                "SELECT root, state = 'running' "
                "AND json_extract(CAST(body AS TEXT), '$.endpoint') IS NOT NULL, "
                "json_extract(CAST(body AS TEXT), '$.host_alias') FROM boxes "
                "WHERE name = ? AND state NOT IN ('terminated', 'lost')",
                (name,),
            ).fetchall()
        finally:
            connection.close()
    except (sqlite3.Error, UnicodeEncodeError):
        return None
    root = _project(start)
    meant = [row for row in rows if row[0] == root] if root else rows
    if len(meant) != 1 or not meant[0][1]:
        return None
    return Reachable(name, meant[0][2] or f"devbox-{name}")


def _project(start: str) -> str:
    """The resolved folder of the nearest devbox.toml at or above `start`; '' for none."""
    folder = os.path.abspath(start)
    while True:
        if os.path.isfile(os.path.join(folder, "devbox.toml")):
            return os.path.realpath(folder)
        parent = os.path.dirname(folder)
        if parent == folder:
            return ""
        folder = parent

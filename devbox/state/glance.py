"""One question to the state file, answered without loading what a box is made of: `devbox exec`
asks it before it becomes ssh, and 20 ms of imports are half of its time."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import NamedTuple


class Reachable(NamedTuple):
    """A box that can be logged in to, as far as was last known."""

    name: str
    alias: str


def reachable(state: Path, name: str) -> Reachable | None:
    """The live box of that name when it runs and has an ssh address. None for anything else, a
    state file that cannot be read included: the caller then asks `state.boxes`, which explains."""
    if not state.exists():
        return None
    try:
        connection = sqlite3.connect(state, timeout=5)
        try:
            row = connection.execute(
                "SELECT name FROM boxes WHERE name = ? AND state = 'running' "
                "AND json_extract(CAST(body AS TEXT), '$.endpoint') IS NOT NULL",
                (name,),
            ).fetchone()
        finally:
            connection.close()
    except (sqlite3.Error, UnicodeEncodeError):
        return None
    return Reachable(row[0], f"devbox-{row[0]}") if row else None

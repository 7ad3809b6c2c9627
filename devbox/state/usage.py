"""What boxes did by the half-minute: digests as their lines came, compressed."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import NamedTuple

from devbox.state.database import Database

_MOST = 64 << 20  # bytes of a chunk when unpacked


class Place(NamedTuple):
    """The last digest that is stored of a box: its name and the box's time."""

    boot: str
    seq: int
    at: float


class Usage:
    """The usage table: append-only. Written by `devbox.telemetry.usage`."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def put(self, box_id: str, first: float, last: Place, lines: bytes) -> None:
        """Add lines, each ending with a newline, of digests from `first` to `last`."""
        with self._db.write() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO usage (box_id, first, last, boot, seq, lines) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (box_id, first, last.at, last.boot, last.seq, zlib.compress(lines, 6)),
            )

    def place(self, box_id: str) -> Place | None:
        """Behind which the next chunk begins."""
        found = self._db.rows(
            "SELECT boot, seq, last FROM usage WHERE box_id = ? ORDER BY id DESC LIMIT 1", box_id
        )
        return Place(*found[0]) if found else None

    def boxes(self, begin: float, end: float) -> list[str]:
        """Ids of the boxes of which anything is stored between two times."""
        sql = "SELECT DISTINCT box_id FROM usage WHERE last >= ? AND first < ?"
        return [row[0] for row in self._db.rows(sql, begin, end)]

    def lines(self, box_id: str, begin: float, end: float) -> Iterator[bytes]:
        """The lines of the chunks that touch that time, oldest first. A chunk that cannot be
        unpacked is unknown time."""
        for row in self._db.rows(
            "SELECT lines FROM usage WHERE box_id = ? AND last >= ? AND first < ? "
            "ORDER BY first, id",
            box_id,
            begin,
            end,
        ):
            try:
                text = zlib.decompressobj().decompress(row[0], _MOST)
            except (zlib.error, TypeError):
                continue
            yield from text.splitlines()

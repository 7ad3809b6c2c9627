"""The ledger: intervals of billed time at frozen prices. Costs are computed, never stored."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from devbox.model import Interval, Price
from devbox.state.database import Database


class Ledger:
    """The intervals table. At most one open interval a box."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def put(self, *intervals: Interval) -> None:
        """Insert those with id 0; give the others their begin, end and price."""
        with self._db.write() as connection:
            put(connection, intervals)

    def hand_over(self, old: str, new: str | None, now: float) -> None:
        """What one row was billed, and did, becomes another's; its open interval continues there,
        or ends now where there is no other."""
        with self._db.write() as connection:
            if new is None:
                _close(connection, old, now)
                return
            open_ = connection.execute(
                "SELECT MAX(start) FROM intervals WHERE box_id = ? AND end IS NULL", (old,)
            ).fetchone()[0]
            if open_ is not None:
                # The new row's own stretch began when it was adopted: the old one covers it.
                connection.execute(
                    "UPDATE intervals SET start = MAX(?, MIN(start, ?)) "
                    "WHERE box_id = ? AND end IS NULL",
                    (open_, open_, new),
                )
                bills = connection.execute(
                    "SELECT 1 FROM intervals WHERE box_id = ? AND end IS NULL", (new,)
                ).fetchone()
                if bills:
                    connection.execute(
                        "DELETE FROM intervals WHERE box_id = ? AND end IS NULL", (old,)
                    )
                else:
                    _close(connection, old, now)
            connection.execute("UPDATE intervals SET box_id = ? WHERE box_id = ?", (new, old))
            connection.execute("UPDATE OR IGNORE usage SET box_id = ? WHERE box_id = ?", (new, old))

    def current(self, box_id: str) -> Interval | None:
        found = self._db.rows("SELECT * FROM intervals WHERE box_id = ? AND end IS NULL", box_id)
        return _interval(found[0]) if found else None

    def all_current(self) -> dict[str, Interval]:
        """Box id → the open interval, for every box that bills now."""
        found = self._db.rows("SELECT * FROM intervals WHERE end IS NULL")
        return {row["box_id"]: _interval(row) for row in found}

    def of_box(self, box_id: str) -> list[Interval]:
        found = self._db.rows("SELECT * FROM intervals WHERE box_id = ? ORDER BY start", box_id)
        return [_interval(row) for row in found]


def put(connection: sqlite3.Connection, intervals: Iterable[Interval]) -> None:
    """`Ledger.put` in the caller's transaction."""
    for each in intervals:
        price = (each.price.micro_per_hour, each.price.source, each.price.unit)
        if each.id:
            connection.execute(
                "UPDATE intervals SET micro_per_hour = ?, price_source = ?, unit = ?, start = ?, "
                "end = ? WHERE id = ?",
                (*price, each.start, each.end, each.id),
            )
            continue
        connection.execute(
            "INSERT INTO intervals (box_id, box_name, provider, hardware, micro_per_hour, "
            "price_source, unit, start, end) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                each.box_id,
                each.box_name,
                each.provider,
                each.hardware,
                *price,
                each.start,
                each.end,
            ),
        )


def latest(connection: sqlite3.Connection, box_id: str) -> tuple[Interval | None, Interval | None]:
    """A box's open interval, and the one that ended last."""
    found = connection.execute(
        "SELECT * FROM intervals WHERE box_id = ? "
        "ORDER BY end IS NOT NULL, end DESC, id DESC LIMIT 2",
        (box_id,),
    ).fetchall()
    both = [_interval(row) for row in found]
    current = both.pop(0) if both and both[0].end is None else None
    return current, both[0] if both else None


def _close(connection: sqlite3.Connection, box_id: str, end: float) -> None:
    connection.execute(
        "UPDATE intervals SET end = MAX(start, ?) WHERE box_id = ? AND end IS NULL", (end, box_id)
    )


def _interval(row: sqlite3.Row) -> Interval:
    fields = dict(row)
    price = Price(fields.pop("micro_per_hour"), fields.pop("price_source"), fields.pop("unit"))
    return Interval(price=price, **fields)

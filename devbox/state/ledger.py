"""The ledger: intervals of billed time at frozen prices. Costs are computed, never stored."""

from __future__ import annotations

import sqlite3

from devbox.model import Box, Interval, Price
from devbox.state.database import Database


class Ledger:
    """The intervals table. At most one open interval a box."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def open(self, box: Box, price: Price, start: float) -> None:
        """Begin to bill. One that is already open at the same price and hardware is kept; at
        another price it is closed at `start` first, so that prices are never mixed."""
        with self._db.write() as connection:
            row = connection.execute(
                "SELECT id, micro_per_hour, hardware FROM intervals "
                "WHERE box_id = ? AND end IS NULL",
                (box.id,),
            ).fetchone()
            if row and (row["micro_per_hour"], row["hardware"]) == (
                price.micro_per_hour,
                box.hardware,
            ):
                return
            _close(connection, box.id, start)
            # A provider's own start time may lie before the end we wrote for the last stretch.
            last = connection.execute(
                "SELECT MAX(end) FROM intervals WHERE box_id = ?", (box.id,)
            ).fetchone()[0]
            connection.execute(
                "INSERT INTO intervals (box_id, box_name, provider, hardware, micro_per_hour, "
                "price_source, unit, start) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    box.id,
                    box.name,
                    box.provider,
                    box.hardware,
                    price.micro_per_hour,
                    price.source,
                    price.unit,
                    max(start, last or start),
                ),
            )

    def go_on(self, box: Box, price: Price, since: float | None, now: float) -> None:
        """Bill a box that was thought to be over. A stretch that went on all the while stays one
        interval, since each interval is billed in whole units. since: begin of the present
        stretch, by its provider; None: not told, so the last one is taken to have gone on."""
        with self._db.write() as connection:
            last = connection.execute(
                "SELECT id, end, hardware, micro_per_hour FROM intervals WHERE box_id = ? "
                "ORDER BY start DESC, id DESC LIMIT 1",
                (box.id,),
            ).fetchone()
            goes_on = last and last["end"] is not None and (since is None or since <= last["end"])
            same = goes_on and (last["micro_per_hour"], last["hardware"]) == (
                price.micro_per_hour,
                box.hardware,
            )
            if same:
                connection.execute("UPDATE intervals SET end = NULL WHERE id = ?", (last["id"],))
        if not same:
            self.open(box, price, last["end"] if goes_on else since or now)

    def close(self, box_id: str, end: float) -> None:
        """Stop billing; nothing happens when no interval is open."""
        with self._db.write() as connection:
            _close(connection, box_id, end)

    def hand_over(self, old: str, new: str | None, now: float) -> None:
        """What one row was billed becomes another's; its open interval continues there, or ends now
        where there is no other."""
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


def _close(connection: sqlite3.Connection, box_id: str, end: float) -> None:
    connection.execute(
        "UPDATE intervals SET end = MAX(start, ?) WHERE box_id = ? AND end IS NULL", (end, box_id)
    )


def _interval(row: sqlite3.Row) -> Interval:
    fields = dict(row)
    price = Price(fields.pop("micro_per_hour"), fields.pop("price_source"), fields.pop("unit"))
    return Interval(price=price, **fields)

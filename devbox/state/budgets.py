"""What budgets need to remember: what was told, what watchdogs were armed with, and what other
computers of the account pay for."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import NamedTuple

from devbox.model import Interval, Price
from devbox.state.database import Database
from devbox.state.records import insert_event


class Untracked(NamedTuple):
    """A stretch that is billed at a provider under our tag, for a box of another computer. start:
    when it began, or was first seen; seen: when last; deadline: its max_uptime where the provider
    tells; end: when it was last seen, once it is gone."""

    provider: str
    handle: str
    name: str
    hardware: str
    price: Price
    start: float
    seen: float
    deadline: float | None
    end: float | None = None

    @property
    def interval(self) -> Interval:
        """As the ledger would hold it."""
        whose = (self.handle, self.name, self.provider, self.hardware)
        return Interval(0, *whose, self.price, self.start, self.end)


class Budgets:
    """The tables told, armed and untracked."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def tell(self, keys: Iterable[str], box_id: str, message: str, now: float) -> bool:
        """Note an event of kind `budget` once for the first of the keys; the others are noted as
        told with it. False when it was told before. One transaction, so that a crash neither loses
        the event nor tells it twice."""
        first, *more = keys
        with self._db.write() as connection:
            new = _note(connection, first, now)
            for key in more:
                _note(connection, key, now)
            if new:
                insert_event(connection, box_id, "budget", message, now)
        return new

    def armed(self) -> dict[str, float | None]:
        """Box id → until when its watchdog lets it spend (unix seconds), None for no limit."""
        return {row[0]: row[1] for row in self._db.rows("SELECT box_id, until FROM armed")}

    def set_armed(self, box_id: str, until: float | None) -> None:
        """Record what a watchdog was armed with. What is larger is recorded before it is armed,
        and what is smaller after it."""
        with self._db.write() as connection:
            connection.execute("INSERT OR REPLACE INTO armed VALUES (?, ?)", (box_id, until))

    def untracked(self, since: float) -> list[Untracked]:
        """Those that were billed at some time after `since`."""
        found = self._db.rows(
            "SELECT * FROM untracked WHERE end IS NULL OR end > ? ORDER BY start", since
        )
        return [_untracked(row) for row in found]

    def found(self, provider: str, seen: Iterable[Untracked], now: float) -> None:
        """What a provider listed just now. What it listed earlier and does not now has ended when
        it was last seen, as far as is known here."""
        with self._db.write() as connection:
            for each in seen:
                connection.execute(
                    "INSERT INTO untracked VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL) "
                    "ON CONFLICT (provider, handle) WHERE end IS NULL DO UPDATE SET "
                    "seen = excluded.seen, micro_per_hour = excluded.micro_per_hour, "
                    "deadline = excluded.deadline",
                    (
                        *(each.provider, each.handle, each.name, each.hardware),
                        *(each.price.micro_per_hour, each.price.unit),
                        *(each.start, now, each.deadline),
                    ),
                )
            connection.execute(
                "UPDATE untracked SET end = seen WHERE provider = ? AND seen < ? AND end IS NULL",
                (provider, now),
            )

    def tracked(self, provider: str, handle: str) -> None:
        """It is a box of this computer now, whose own intervals count."""
        with self._db.write() as connection:
            connection.execute(
                "DELETE FROM untracked WHERE provider = ? AND handle = ?", (provider, handle)
            )


def _note(connection: sqlite3.Connection, key: str, now: float) -> bool:
    done = connection.execute("INSERT OR IGNORE INTO told VALUES (?, ?)", (key, now))
    return done.rowcount == 1


def _untracked(row: sqlite3.Row) -> Untracked:
    fields = dict(row)
    price = Price(fields.pop("micro_per_hour"), unit=fields.pop("unit"))
    return Untracked(price=price, **fields)

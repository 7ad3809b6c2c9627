"""Runs and events: what happened on boxes, for people and reports."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec

from devbox.model import Event, Run, RunState
from devbox.state.database import Database
from devbox.text import clean

_RUN = (
    "id, box_id, box_name, job, state, created, started, ended, exit_code, request, status, batch"
)


class Runs:
    """The runs table. Written by `devbox.jobs`."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def put(self, run: Run) -> None:
        """Insert or replace."""
        with self._db.write() as connection:
            connection.execute(
                f"INSERT OR REPLACE INTO runs ({_RUN}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",  # noqa: S608
                tuple(getattr(run, field) for field in _RUN.split(", ")),
            )

    def get(self, run_id: str) -> Run | None:
        found = self._db.rows(f"SELECT {_RUN} FROM runs WHERE id = ?", run_id)  # noqa: S608
        return _run(found[0]) if found else None

    def latest(
        self, *, box_id: str | None = None, limit: int = 50, parts: bool = True
    ) -> list[Run]:
        """Newest first. parts: those of batches too."""
        which = [] if box_id is None else ["box_id = ?"]
        which += [] if parts else ["batch = ''"]
        where = f"WHERE {' AND '.join(which)} " if which else ""
        values = () if box_id is None else (box_id,)
        found = self._db.rows(
            f"SELECT {_RUN} FROM runs {where}ORDER BY created DESC, id DESC LIMIT ?",  # noqa: S608
            *values,
            limit,
        )
        return [_run(row) for row in found]

    def of_batch(self, batch_id: str) -> list[Run]:
        """The parts of a batch, the first one first."""
        found = self._db.rows(
            f"SELECT {_RUN} FROM runs WHERE batch = ? ORDER BY created, id",  # noqa: S608
            batch_id,
        )
        return [_run(row) for row in found]


class Events:
    """The events table: append-only."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(self, box_id: str, kind: str, message: str, now: float) -> None:
        """kind: one word such as state, warn, keep, pause, sync, run, cost. The message is
        cleaned: part of it may come from a box or a provider."""
        with self._db.write() as connection:
            insert_event(connection, box_id, kind, message, now)

    def of_box(self, box_id: str, *, after: int = 0, limit: int = 200) -> list[Event]:
        """The latest `limit` events with id above `after`, oldest first: what a box noted comes
        to us later than what happened after it."""
        found = self._db.rows(
            "SELECT * FROM (SELECT id, box_id, at, kind, message FROM events "
            "WHERE box_id = ? AND id > ? ORDER BY id DESC LIMIT ?) ORDER BY at, id",
            box_id,
            after,
            limit,
        )
        return [Event(**dict(row)) for row in found]

    def before(self, moment: float) -> int:
        """Id of the last event that was noted before the first one of `moment` or later."""
        found = self._db.rows("SELECT MIN(id) - 1 FROM events WHERE at >= ?", moment)[0][0]
        latest = self._db.rows("SELECT COALESCE(MAX(id), 0) FROM events")[0][0]
        return int(latest if found is None else found)

    def news(self, after: int, kinds: Sequence[str], *, limit: int = 500) -> list[Event]:
        """Events of any box with an id above `after` and one of these kinds, oldest first."""
        found = self._db.rows(
            "SELECT id, box_id, at, kind, message FROM events WHERE id > ? "  # noqa: S608
            f"AND kind IN ({', '.join('?' * len(kinds))}) ORDER BY id LIMIT ?",
            after,
            *kinds,
            limit,
        )
        return [Event(**dict(row)) for row in found]


def insert_event(
    connection: sqlite3.Connection, box_id: str, kind: str, message: str, now: float
) -> None:
    """An event, in the caller's transaction."""
    connection.execute(
        "INSERT INTO events (box_id, at, kind, message) VALUES (?, ?, ?, ?)",
        (box_id, now, kind, clean(message, 2000)),
    )


def _run(row: sqlite3.Row) -> Run:
    """A row; what cannot be read of it is not known, and hides nothing beside it."""
    fields = dict(row)
    state = fields["state"]
    fields["state"] = RunState(state) if state in tuple(RunState) else RunState.UNKNOWN
    for part in ("request", "status"):
        try:
            readable = isinstance(msgspec.json.decode(fields[part]), dict)
        except (msgspec.MsgspecError, RecursionError, TypeError, ValueError):
            readable = False
        if not readable:
            fields[part] = b"{}"
    return Run(**fields)

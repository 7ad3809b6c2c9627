"""The schema of the state file: one named function for each step from an empty file to today's.

The functions run in order, each once in the life of a file, all in one transaction. A released
function never changes. One that changes JSON bodies may meet bodies that it has changed already
(rows rescued from a damaged file), and leaves what it cannot read as it is.
"""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Callable

from devbox.wire.codec import Json, JsonObject

Migration = Callable[[sqlite3.Connection], None]


def first_tables(connection: sqlite3.Connection) -> None:
    """Boxes, the journal, the ledger, runs and events."""
    _execute(
        connection,
        """
    CREATE TABLE boxes (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, state TEXT NOT NULL, project TEXT NOT NULL,
        created REAL NOT NULL, body BLOB NOT NULL
    );
    CREATE UNIQUE INDEX one_live_box_per_name ON boxes (name)
        WHERE state NOT IN ('terminated', 'lost');
    CREATE TABLE intents (
        id INTEGER PRIMARY KEY, box_id TEXT NOT NULL REFERENCES boxes (id), goal TEXT NOT NULL,
        step TEXT NOT NULL, pid INTEGER NOT NULL, options BLOB NOT NULL, created REAL NOT NULL,
        updated REAL NOT NULL, finished REAL, outcome TEXT NOT NULL DEFAULT ''
    );
    CREATE INDEX open_intents ON intents (box_id) WHERE finished IS NULL;
    CREATE TABLE intervals (
        id INTEGER PRIMARY KEY, box_id TEXT NOT NULL, box_name TEXT NOT NULL,
        provider TEXT NOT NULL, hardware TEXT NOT NULL, micro_per_hour INTEGER,
        price_source TEXT NOT NULL, start REAL NOT NULL, end REAL
    );
    CREATE UNIQUE INDEX one_open_interval_per_box ON intervals (box_id) WHERE end IS NULL;
    CREATE INDEX intervals_of_box ON intervals (box_id, start);
    CREATE INDEX intervals_by_start ON intervals (start, end, micro_per_hour);
    CREATE TABLE runs (
        id TEXT PRIMARY KEY, box_id TEXT NOT NULL, box_name TEXT NOT NULL, job TEXT NOT NULL,
        state TEXT NOT NULL, created REAL NOT NULL, started REAL, ended REAL, exit_code INTEGER,
        request BLOB NOT NULL, status BLOB NOT NULL
    );
    CREATE INDEX runs_of_box ON runs (box_id, created);
    CREATE TABLE events (
        id INTEGER PRIMARY KEY, box_id TEXT NOT NULL, at REAL NOT NULL, kind TEXT NOT NULL,
        message TEXT NOT NULL
    );
    CREATE INDEX events_of_box ON events (box_id, at)
    """,
    )


def boxes_belong_to_projects(connection: sqlite3.Connection) -> None:
    """A name is unique in its project; a slug among all live boxes."""
    _execute(
        connection,
        """
    ALTER TABLE boxes ADD COLUMN root TEXT NOT NULL DEFAULT '';
    ALTER TABLE boxes ADD COLUMN slug TEXT NOT NULL DEFAULT '';
    UPDATE boxes SET slug = name;
    DROP INDEX one_live_box_per_name;
    CREATE UNIQUE INDEX one_live_box_per_project_and_name ON boxes (root, project, name)
        WHERE state NOT IN ('terminated', 'lost');
    CREATE UNIQUE INDEX one_live_box_per_slug ON boxes (slug)
        WHERE state NOT IN ('terminated', 'lost');
    CREATE INDEX boxes_by_name ON boxes (name)
    """,
    )


def intervals_have_billing_units(connection: sqlite3.Connection) -> None:
    """Time is billed in the provider's unit."""
    _execute(
        connection,
        """
    ALTER TABLE intervals ADD COLUMN unit INTEGER NOT NULL DEFAULT 0;
    DROP INDEX intervals_by_start;
    CREATE INDEX intervals_by_start ON intervals (start, end, micro_per_hour, unit)
    """,
    )


def migrations_are_named(connection: sqlite3.Connection) -> None:
    """Which migrations this file has had, and when. Files older than this table only count them,
    in `PRAGMA user_version`."""
    _execute(connection, "CREATE TABLE migrations (name TEXT PRIMARY KEY, applied REAL NOT NULL)")


def connections_hold_settings(connection: sqlite3.Connection) -> None:
    """A box's connection: its provider's settings in a table of their own, beside who answered."""

    def nest(body: JsonObject) -> None:
        flat = body.get("connection")
        if isinstance(flat, dict) and "settings" not in flat:
            identity = flat.pop("identity", "")
            settings: Json = {key: value for key, value in flat.items() if value}
            body["connection"] = {"settings": settings, "identity": identity}

    _change_bodies(connection, nest)


def idle_vram_after_is_named(connection: sqlite3.Connection) -> None:
    """`idle.stuck_after` of a box's stored spec is `idle.idle_vram_after`."""

    def rename(body: JsonObject) -> None:
        stored = json.loads(base64.b64decode(str(body["spec"])))
        idle = stored.get("idle", {})
        if "stuck_after" in idle:
            idle["idle_vram_after"] = idle.pop("stuck_after")
            body["spec"] = base64.b64encode(json.dumps(stored).encode()).decode()

    _change_bodies(connection, rename)


def intervals_are_grouped(connection: sqlite3.Connection) -> None:
    """An index that holds what a report reads, in the order that it groups by."""
    _execute(
        connection,
        """
    CREATE INDEX intervals_grouped ON intervals
        (box_id, box_name, provider, hardware, micro_per_hour, unit, start, end)
    """,
    )


def usage_is_kept(connection: sqlite3.Connection) -> None:
    """What boxes did by the half-minute, in chunks as they were fetched. first, last: the box's
    time of the first and the last sample; boot, seq: the last one's name; lines: compressed."""
    _execute(
        connection,
        """
    CREATE TABLE usage (
        id INTEGER PRIMARY KEY, box_id TEXT NOT NULL, first REAL NOT NULL, last REAL NOT NULL,
        boot TEXT NOT NULL, seq INTEGER NOT NULL, lines BLOB NOT NULL
    );
    CREATE UNIQUE INDEX usage_of_box ON usage (box_id, last, boot, seq)
    """,
    )


def budgets_are_kept(connection: sqlite3.Connection) -> None:
    """What was told about budgets; until when each watchdog was armed to let its box spend (NULL:
    without a limit); what reconcile found that other computers pay for."""
    _execute(
        connection,
        """
    CREATE TABLE told (key TEXT PRIMARY KEY, at REAL NOT NULL);
    CREATE TABLE armed (box_id TEXT PRIMARY KEY, until REAL);
    CREATE TABLE untracked (
        provider TEXT NOT NULL, handle TEXT NOT NULL, name TEXT NOT NULL, hardware TEXT NOT NULL,
        micro_per_hour INTEGER, unit INTEGER NOT NULL, start REAL NOT NULL, seen REAL NOT NULL,
        deadline REAL, end REAL
    );
    CREATE UNIQUE INDEX one_open_untracked ON untracked (provider, handle) WHERE end IS NULL
    """,
    )


def batches_are_kept(connection: sqlite3.Connection) -> None:
    """Runs that are spread over workers: what was asked for, their pieces and their workers. A part
    of a batch is a run of its own that names it."""
    _execute(
        connection,
        """
    ALTER TABLE runs ADD COLUMN batch TEXT NOT NULL DEFAULT '';
    CREATE INDEX runs_of_batch ON runs (batch, created);
    CREATE TABLE batches (
        id TEXT PRIMARY KEY, job TEXT NOT NULL, box_name TEXT NOT NULL, root TEXT NOT NULL,
        state TEXT NOT NULL, created REAL NOT NULL, ended REAL, message TEXT NOT NULL,
        request BLOB NOT NULL
    );
    CREATE TABLE batch_pieces (
        batch_id TEXT NOT NULL, name TEXT NOT NULL, weight REAL NOT NULL, state TEXT NOT NULL,
        worker INTEGER NOT NULL, round INTEGER NOT NULL, tries INTEGER NOT NULL,
        lost INTEGER NOT NULL, seconds REAL, error TEXT NOT NULL
    );
    CREATE UNIQUE INDEX piece_of_batch ON batch_pieces (batch_id, name);
    CREATE TABLE batch_workers (
        batch_id TEXT NOT NULL, number INTEGER NOT NULL, box_name TEXT NOT NULL,
        state TEXT NOT NULL, box_id TEXT NOT NULL, run TEXT NOT NULL, rounds INTEGER NOT NULL,
        message TEXT NOT NULL
    );
    CREATE UNIQUE INDEX worker_of_batch ON batch_workers (batch_id, number)
    """,
    )


def pieces_have_bytes(connection: sqlite3.Connection) -> None:
    """What a piece weighs is no longer always its bytes, by which it is known again."""
    _execute(
        connection,
        """
    ALTER TABLE batch_pieces ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
    UPDATE batch_pieces SET bytes = CAST(weight AS INTEGER)
    """,
    )


def pieces_may_be_held_twice(connection: sqlite3.Connection) -> None:
    """By a second worker, with --speculate."""
    _execute(
        connection,
        """
    ALTER TABLE batch_pieces ADD COLUMN also_worker INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE batch_pieces ADD COLUMN also_round INTEGER NOT NULL DEFAULT 0
    """,
    )


MIGRATIONS: tuple[Migration, ...] = (
    first_tables,
    boxes_belong_to_projects,
    intervals_have_billing_units,
    migrations_are_named,
    connections_hold_settings,
    idle_vram_after_is_named,
    intervals_are_grouped,
    usage_is_kept,
    budgets_are_kept,
    batches_are_kept,
    pieces_have_bytes,
    pieces_may_be_held_twice,
)
#: those that change JSON bodies
BODIES: tuple[Migration, ...] = (connections_hold_settings, idle_vram_after_is_named)


def apply(connection: sqlite3.Connection, applied: int, now: float) -> None:
    """Run what comes after the first `applied` migrations, and record their names. The caller
    holds the transaction."""
    for migration in MIGRATIONS[applied:]:
        migration(connection)
    connection.executemany(
        "INSERT OR IGNORE INTO migrations (name, applied) VALUES (?, ?)",
        [(migration.__name__, now) for migration in MIGRATIONS],
    )
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def _change_bodies(connection: sqlite3.Connection, change: Callable[[JsonObject], None]) -> None:
    for box_id, body in connection.execute("SELECT id, body FROM boxes").fetchall():
        try:
            found = json.loads(body)
            change(found)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            continue  # why: what cannot be read is left as it is
        encoded = json.dumps(found, separators=(",", ":")).encode()
        connection.execute("UPDATE boxes SET body = ? WHERE id = ?", (encoded, box_id))


def _execute(connection: sqlite3.Connection, script: str) -> None:
    """Statement by statement: sqlite3's executescript would end the transaction."""
    for statement in script.split(";"):
        connection.execute(statement)

"""A damaged state file: moved aside, and what can still be read of it kept."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from devbox import spec
from devbox.model import UNKNOWN_PRICE, UNREADABLE, Box, BoxState, Connection
from devbox.state import migrations
from devbox.state.database import Database, explained

_MOST_BYTES = 8 << 30
TABLES = (
    *("boxes", "intents", "intervals", "runs", "events", "usage"),
    *("told", "armed", "untracked"),
    *("batches", "batch_pieces", "batch_workers"),
)


def check(database: Database) -> None:
    """StateDamaged when SQLite finds damage, or a table is missing."""
    said = database.rows("PRAGMA quick_check(1)")[0][0]
    if said != "ok":
        with explained(database.path):
            raise sqlite3.DatabaseError(said)
    for table in TABLES:
        database.rows(f"SELECT 1 FROM {table} LIMIT 1")  # noqa: S608 - names of ours


def move_aside(path: Path, now: float) -> Path:
    """Rename a state file (or whatever has its name) with what SQLite keeps beside it; its new
    path. Nothing is deleted."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(now))
    target = path.with_name(f"{path.name}.damaged-{stamp}")
    number = 1
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}.damaged-{stamp}-{number}")
    for suffix in ("-wal", "-shm", ""):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(target.with_name(target.name + suffix))
    return target


def copy(damaged: Path, into: Database) -> int:
    """Put every row that can still be read into a new file; how many there were."""
    if not damaged.is_file():
        return 0
    import tempfile  # why here: every verb imports this room, and few mend

    with tempfile.TemporaryDirectory(dir=damaged.parent) as folder:
        working = Path(folder) / "state.db"
        for suffix in ("", "-wal"):
            part = damaged.with_name(damaged.name + suffix)
            if part.exists():
                shutil.copyfile(part, working.with_name(working.name + suffix))
        _pad(working)
        source = sqlite3.connect(working)
        source.row_factory = sqlite3.Row
        source.text_factory = lambda data: data.decode(errors="replace")
        try:
            kept = sum(_copy_table(source, into, table) for table in TABLES)
        finally:
            source.close()
    with into.write() as connection:
        for migration in migrations.BODIES:  # the rows may be of an older version
            migration(connection)
    return kept


def _pad(file: Path) -> None:
    """Give a file that was cut the length that its header says, or SQLite reads none of it. Page
    size and count: bytes 16 and 28 of the header (sqlite.org/fileformat2.html)."""
    with file.open("r+b") as stream:
        header = stream.read(100)
        if len(header) == 100 and header.startswith(b"SQLite format 3\0"):
            page = int.from_bytes(header[16:18], "big")
            whole = (65536 if page == 1 else page) * int.from_bytes(header[28:32], "big")
            if file.stat().st_size < whole <= _MOST_BYTES:
                stream.truncate(whole)


def mended(row: sqlite3.Row) -> Box | None:
    """A box from a row that does not decode whole: each field that can be read, and a default for
    the others. None without what finds it at its provider."""
    try:
        said: object = msgspec.json.decode(row["body"])
    except (msgspec.MsgspecError, RecursionError, TypeError, ValueError):
        return None
    if not isinstance(said, dict):
        return None
    readable = row["state"] in tuple(BoxState)
    columns = {
        "id": str(row["id"]),
        "name": str(row["name"]),
        # Where it cannot be read, the next look at its provider says what it is.
        "state": row["state"] if readable else BoxState.STARTING,
        "hardware": "",
        "price": msgspec.to_builtins(UNKNOWN_PRICE),
        "created": row["created"],
        "updated": row["created"],
        "seen": row["created"],
    }
    _, lost = spec.lenient({**columns, **said}, Box)
    unread = {key for key in lost if "." not in key}
    kept = {key: value for key, value in said.items() if key not in unread}
    found, _ = spec.lenient({**columns, **kept}, Box)
    if not found or not found.provider or not found.token:
        return None
    message = f"part of its record cannot be read: {', '.join(lost)}"
    if any(key.startswith("connection") for key in lost):
        # Who made it is not known any more: nobody's "not found" proves its end.
        known = found.connection or Connection()
        found = msgspec.structs.replace(
            found, connection=msgspec.structs.replace(known, identity=UNREADABLE)
        )
    return msgspec.structs.replace(found, message=message)


def _copy_table(source: sqlite3.Connection, into: Database, table: str) -> int:
    known = [row["name"] for row in into.rows(f"PRAGMA table_info({table})")]
    found: dict[object, dict[str, object]] = {}
    # Reading stops at the first damaged page, so what lies behind it is read from the other end.
    for order in ("", "ORDER BY rowid DESC"):
        for row in _readable(source, f"SELECT rowid AS our_rowid, * FROM {table} {order}"):  # noqa: S608
            values = dict(row)
            found[values.pop("our_rowid")] = {k: v for k, v in values.items() if k in known}
    kept = 0
    with into.write() as connection:
        for values in found.values():
            names, marks = ", ".join(values), ", ".join("?" * len(values))
            done = connection.execute(
                f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})",  # noqa: S608
                tuple(values.values()),
            )
            kept += done.rowcount
    return kept


def _readable(source: sqlite3.Connection, sql: str) -> Iterator[sqlite3.Row]:
    try:
        yield from source.execute(sql)
    except sqlite3.Error:
        return  # why: the rest of it is what is damaged

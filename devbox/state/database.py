"""One SQLite file in WAL mode, safe under many devbox processes at once.

`PRAGMA user_version` counts the migrations that were applied (`state.migrations`). Every write is
its own short IMMEDIATE transaction, so that two processes never both read, decide and then write.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from devbox.errors import DevboxError, StateDamaged
from devbox.state import migrations
from devbox.text import clean


class Database:
    """An open state file. One a process; its threads take turns."""

    def __init__(self, path: Path, *, busy_timeout: float = 20.0) -> None:
        """busy_timeout: seconds to wait for another process's write."""
        self.path = path
        self._turn = threading.RLock()
        with explained(path):
            self._connection = sqlite3.connect(
                path, timeout=busy_timeout, isolation_level=None, check_same_thread=False
            )
            self._connection.row_factory = sqlite3.Row
            self._connection.text_factory = _tolerant
            path.chmod(0o600)
            self._use_wal(time.monotonic() + busy_timeout)
            self._connection.execute("PRAGMA synchronous = FULL")
            self._migrate()

    def close(self) -> None:
        self._connection.close()

    def rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        """All rows of a read."""
        return self._read(sql, values)

    def named(self, sql: str, **values: object) -> list[sqlite3.Row]:
        """All rows of a read with :named values."""
        return self._read(sql, values)

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """An IMMEDIATE transaction: committed at the end, rolled back on any exception."""
        with self._turn, explained(self.path):
            yield from self._transaction()

    def _read(self, sql: str, values: Sequence[object] | Mapping[str, object]) -> list[sqlite3.Row]:
        """First as if every text were whole, which is twice as fast for thousands of rows."""
        with self._turn, explained(self.path):
            self._connection.text_factory = str
            try:
                return self._connection.execute(sql, values).fetchall()
            except sqlite3.OperationalError as error:
                if "decode" not in str(error):
                    raise
            finally:
                self._connection.text_factory = _tolerant
            return self._connection.execute(sql, values).fetchall()

    def _use_wal(self, give_up: float) -> None:
        """SQLite does not wait for the lock itself here: two processes that switch a new file at
        once would each hold what the other needs, so it refuses one of them at once."""
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                    raise
            time.sleep(0.01)

    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # a full disk has rolled it back already
                self._connection.execute("ROLLBACK")
            raise

    def _migrate(self) -> None:
        version, newest = self._version(), len(migrations.MIGRATIONS)
        if version > newest:
            raise DevboxError(
                f"{self.path} was written by a newer devbox",
                fix="upgrade devbox, or point DEVBOX_HOME at another folder",
            )
        if version < newest:
            with self.write() as connection:
                # Another process may have migrated the file since.
                migrations.apply(connection, self._version(), time.time())

    def _version(self) -> int:
        return int(self._connection.execute("PRAGMA user_version").fetchone()[0])


def _tolerant(data: bytes) -> str:
    """One damaged text must not hide the rows beside it."""
    return data.decode(errors="replace")


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """SQLite's errors, and the system's about its file, as devbox's: busy, full, not writable, or
    damaged."""
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
        raise  # what was asked is wrong, not the file
    except (sqlite3.Error, OSError) as error:
        raise _explanation(path, error) from error


def _explanation(path: Path, error: sqlite3.Error | OSError) -> DevboxError:
    # The low byte is the kind, the rest its detail (sqlite.org/rescode.html).
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    said = clean(str(error), 200)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return DevboxError(
            f"the state file {path} stayed busy: {said}",
            means="nothing was changed",
            fix="look for a hung devbox process (ps aux | grep devbox) and try again",
        )
    if path.is_dir():
        return _damaged(path, "it is a folder")
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return DevboxError(
            f"the state file {path} cannot be written: {said}",
            means="this step was not recorded; boxes are as they were, and cost what they did",
            fix=f"free some space (df -h {path.parent}), then: devbox reconcile",
        )
    if isinstance(error, OSError) or code in (
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_AUTH,
    ):
        return DevboxError(
            f"the state file {path} cannot be opened for writing: {said}",
            means="nothing was changed; boxes that run keep costing",
            fix=f"make {path.parent} writable for this user, or set DEVBOX_HOME to another folder",
        )
    return _damaged(path, said)


def _damaged(path: Path, said: str) -> StateDamaged:
    return StateDamaged(
        f"the state file {path} cannot be read: {said}",
        means="boxes at their providers are untouched, and those that run keep costing",
        fix="devbox doctor --fix keeps a copy and rebuilds it",
    )

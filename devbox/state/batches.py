"""Batches: runs spread over workers, with their pieces and who has them. Written by
`devbox.scale`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

import msgspec

from devbox.model import (
    Batch,
    Piece,
    PieceCounts,
    PieceState,
    RunState,
    Worker,
    WorkerState,
)
from devbox.state.database import Database
from devbox.text import clean

_BATCH = "id, job, box_name, root, state, created, ended, message, request"
_PIECE = "name, weight, state, worker, round, tries, lost, seconds, error, bytes, "
_PIECE += "also_worker, also_round"
_WORKER = "number, box_name, state, box_id, run, rounds, message"
_LONGEST = 500  # characters of an error that are kept


class Batches:
    """The tables batches, batch_pieces and batch_workers."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def insert(self, batch: Batch, pieces: Iterable[Piece]) -> None:
        """A new batch with all its pieces, in one transaction."""
        with self._db.write() as connection:
            connection.execute(
                f"INSERT INTO batches ({_BATCH}) VALUES (?,?,?,?,?,?,?,?,?)",  # noqa: S608
                _values(batch, _BATCH),
            )
            connection.executemany(
                f"INSERT INTO batch_pieces (batch_id, {_PIECE}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",  # noqa: S608
                ((batch.id, *_values(piece, _PIECE)) for piece in pieces),
            )

    def get(self, batch_id: str) -> Batch | None:
        found = self._db.rows(f"SELECT {_BATCH} FROM batches WHERE id = ?", batch_id)  # noqa: S608
        return _batch(found[0]) if found else None

    def latest(self, limit: int = 50) -> list[Batch]:
        """Newest first."""
        found = self._db.rows(
            f"SELECT {_BATCH} FROM batches ORDER BY created DESC, id DESC LIMIT ?",  # noqa: S608
            limit,
        )
        return [_batch(row) for row in found]

    def open(self) -> list[Batch]:
        """Those that are not over."""
        found = self._db.rows(
            f"SELECT {_BATCH} FROM batches WHERE state = ? ORDER BY created",  # noqa: S608
            RunState.RUNNING,
        )
        return [_batch(row) for row in found]

    def pieces(self, batch_id: str) -> list[Piece]:
        """In the order in which they were given."""
        found = self._db.rows(
            f"SELECT {_PIECE} FROM batch_pieces WHERE batch_id = ? ORDER BY rowid",  # noqa: S608
            batch_id,
        )
        return [_piece(row) for row in found]

    def workers(self, batch_id: str) -> list[Worker]:
        """By number."""
        found = self._db.rows(
            f"SELECT {_WORKER} FROM batch_workers WHERE batch_id = ? ORDER BY number",  # noqa: S608
            batch_id,
        )
        return [_worker(row) for row in found]

    def counts(self, batch_id: str) -> PieceCounts:
        found = self._db.rows(
            "SELECT state, COUNT(*) AS pieces FROM batch_pieces WHERE batch_id = ? GROUP BY state",
            batch_id,
        )
        by_state = {str(row["state"]): int(row["pieces"]) for row in found}
        return PieceCounts(**{str(state): by_state.get(state, 0) for state in PieceState})

    def record(
        self,
        batch_id: str,
        pieces: Sequence[Piece] = (),
        workers: Sequence[Worker] = (),
        *,
        running: bool = False,
    ) -> bool:
        """Write these pieces and workers as they now are, in one transaction. running: only while
        the batch runs, so that nothing begins once it was cancelled; whether they were written."""
        with self._db.write() as connection:
            if running and not _runs(connection, batch_id):
                return False
            connection.executemany(
                "UPDATE batch_pieces SET state = ?, worker = ?, round = ?, tries = ?, lost = ?, "
                "seconds = ?, error = ?, also_worker = ?, also_round = ? "
                "WHERE batch_id = ? AND name = ?",
                (
                    (
                        *(piece.state, piece.worker, piece.round, piece.tries, piece.lost),
                        *(piece.seconds, clean(piece.error, _LONGEST)),
                        *(piece.also_worker, piece.also_round, batch_id, piece.name),
                    )
                    for piece in pieces
                ),
            )
            connection.executemany(
                f"INSERT OR REPLACE INTO batch_workers (batch_id, {_WORKER}) "  # noqa: S608
                "VALUES (?,?,?,?,?,?,?,?)",
                ((batch_id, *_values(worker, _WORKER)) for worker in workers),
            )
        return True

    def end(self, batch_id: str, state: RunState, message: str, now: float) -> bool:
        """It is over, unless it was already; whether it was not."""
        with self._db.write() as connection:
            done = connection.execute(
                "UPDATE batches SET state = ?, message = ?, ended = ? WHERE id = ? AND state = ?",
                (state, clean(message, 1000), now, batch_id, RunState.RUNNING),
            )
        return done.rowcount > 0

    def again(self, batch_id: str, request: bytes) -> None:
        """It runs once more, by that request."""
        with self._db.write() as connection:
            connection.execute(
                "UPDATE batches SET state = ?, message = '', ended = NULL, request = ? "
                "WHERE id = ?",
                (RunState.RUNNING, request, batch_id),
            )


def _runs(connection: sqlite3.Connection, batch_id: str) -> bool:
    found = connection.execute("SELECT state FROM batches WHERE id = ?", (batch_id,)).fetchone()
    return found is not None and found[0] == RunState.RUNNING


def _values(record: msgspec.Struct, fields: str) -> tuple[object, ...]:
    return tuple(getattr(record, field) for field in fields.split(", "))


def _batch(row: sqlite3.Row) -> Batch:
    """A row; what cannot be read of it is not known, and hides nothing beside it."""
    fields = dict(row)
    state, request = fields["state"], fields["request"]
    fields["state"] = RunState(state) if state in tuple(RunState) else RunState.UNKNOWN
    try:
        readable = isinstance(msgspec.json.decode(request), dict)
    except (msgspec.MsgspecError, RecursionError, TypeError, ValueError):
        readable = False
    fields["request"] = request if readable else b"{}"
    return Batch(**fields)


def _piece(row: sqlite3.Row) -> Piece:
    fields = dict(row)
    state = fields["state"]
    fields["state"] = PieceState(state) if state in tuple(PieceState) else PieceState.WAITING
    return Piece(**fields)


def _worker(row: sqlite3.Row) -> Worker:
    fields = dict(row)
    state = fields["state"]
    fields["state"] = WorkerState(state) if state in tuple(WorkerState) else WorkerState.LOST
    return Worker(**fields)

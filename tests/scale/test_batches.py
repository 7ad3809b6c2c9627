"""What is remembered of a batch."""

from __future__ import annotations

from pathlib import Path

import pytest

from devbox.model import Batch, Piece, PieceCounts, PieceState, Run, RunState, Worker, WorkerState
from devbox.state import salvage
from devbox.state.database import Database
from devbox.state.store import Store


@pytest.fixture
def store(home: Path) -> Store:
    return Store(Database(home / "state.db"))


BATCH = Batch("b1", "track", "gpu", "/p", RunState.RUNNING, 10.0, request=b'{"a":1}')
PIECES = [Piece("x", 2.0), Piece("y", 3.0, bytes=7), Piece("z", 5.0)]


def test_a_batch_comes_back_with_pieces_and_workers(store: Store) -> None:
    store.batches.insert(BATCH, PIECES)
    assert store.batches.get("b1") == BATCH
    assert store.batches.latest() == store.batches.open() == [BATCH]
    assert store.batches.pieces("b1") == PIECES
    worker = Worker(1, "gpu-1", WorkerState.OPEN, "id", "b1-w1", 2)
    given = Piece("y", 3.0, PieceState.GIVEN, 1, 2, bytes=7, also_worker=2, also_round=5)
    done = Piece("x", 2.0, PieceState.DONE, 1, 1, seconds=4.0)
    assert store.batches.record("b1", [given, done], [worker])
    assert store.batches.pieces("b1") == [done, given, PIECES[2]]
    assert store.batches.workers("b1") == [worker]
    counts = PieceCounts(waiting=1, given=1, done=1)
    assert store.batches.counts("b1") == counts
    assert counts.total == 3


def test_nothing_begins_once_it_is_over_and_it_is_over_once(store: Store) -> None:
    store.batches.insert(BATCH, PIECES)
    assert store.batches.end("b1", RunState.CANCELLED, "by you", 20.0)
    assert not store.batches.end("b1", RunState.SUCCEEDED, "", 30.0)
    found = store.batches.get("b1")
    assert found
    assert (found.state, found.ended, found.message) == (RunState.CANCELLED, 20.0, "by you")
    given = Piece("y", 3.0, PieceState.GIVEN, 1, 1)
    assert not store.batches.record("b1", [given], running=True)
    assert store.batches.pieces("b1") == PIECES
    store.batches.again("b1", b"{}")
    assert store.batches.record("b1", [given], running=True)


def test_parts_are_runs_of_their_own_that_a_list_may_leave_out(store: Store) -> None:
    part = Run("b1-w1", "id", "gpu-1", "track", RunState.RUNNING, 11.0, batch="b1")
    own = Run("r1", "id", "gpu-1", "track", RunState.RUNNING, 9.0)
    store.runs.put(part)
    store.runs.put(own)
    assert store.runs.latest(box_id="id") == [part, own]
    assert store.runs.latest(parts=False) == [own]
    assert store.runs.of_batch("b1") == [part]


def test_a_damaged_file_keeps_its_batches(store: Store, home: Path) -> None:
    store.batches.insert(BATCH, PIECES)
    store.batches.record("b1", (), [Worker(1, "gpu-1")])
    store.close()
    target = Store(Database(home / "new.db"))
    assert salvage.copy(home / "state.db", target.database)
    assert target.batches.get("b1") == BATCH
    assert target.batches.pieces("b1") == PIECES
    assert target.batches.workers("b1") == [Worker(1, "gpu-1")]


def test_a_row_that_cannot_be_read_hides_none_beside_it(store: Store) -> None:
    store.batches.insert(BATCH, PIECES)
    with store.database.write() as connection:
        connection.execute("UPDATE batches SET state = 'odd', request = 'no json'")
        connection.execute("UPDATE batch_pieces SET state = 'odd' WHERE name = 'x'")
    (found,) = store.batches.latest()
    assert (found.state, found.request) == (RunState.UNKNOWN, b"{}")
    assert store.batches.pieces("b1") == PIECES

"""A batch from outside: waiting for it, ending it, and working once more on what failed."""

from __future__ import annotations

from collections.abc import Generator

import msgspec

from devbox.errors import Busy, Conflict
from devbox.jobs import queries
from devbox.jobs.follow import Progress
from devbox.model import Batch, Piece, PieceState, RunState
from devbox.scale import batch as batches
from devbox.scale import losses
from devbox.scale.board import Board
from devbox.scale.coordinator import Message, coordinate, note
from devbox.scale.cost import batch_cost
from devbox.text import counted, dollars
from devbox.wire.messages import End
from devbox.workspace import Workspace

_LOOK = 1.0  # seconds between two looks at a batch that another devbox works on


def attach(ws: Workspace, batch: Batch) -> Generator[Message]:
    """Work on it to its end, or watch while another devbox does and take over where that one
    ends."""
    while (known := ws.store.batches.get(batch.id)) and known.state is RunState.RUNNING:
        try:
            yield from coordinate(ws, batch)
        except Busy:
            yield progress(ws, batch)
            ws.sleep(_LOOK)


def progress(ws: Workspace, batch: Batch) -> Progress:
    """How it is, by what is written down."""
    counts = ws.store.batches.counts(batch.id)
    workers = [w for w in ws.store.batches.workers(batch.id) if not w.state.is_over]
    message = f"{counted(len(workers), 'worker')}, {dollars(batch_cost(ws, batch))}"
    done = float(counts.done + counts.failed)
    return Progress(done, float(counts.total), "pieces", message, None)


def cancel(ws: Workspace, batch: Batch) -> Batch:
    """End it with all its parts; what is fetched stays. Nothing of it begins any more, also where
    another devbox works on it."""
    ws.store.batches.end(batch.id, RunState.CANCELLED, "", ws.clock())
    for run in queries.refresh(ws, batches.parts(ws, batch)):
        if not run.state.is_over:
            losses.cancel(ws, run)
    note(ws, batch)
    return ws.store.batches.get(batch.id) or batch


def retry(
    ws: Workspace,
    batch: Batch,
    *,
    ceiling: int | None = None,
    then: End | None = None,
    no_sync: bool = False,
    no_setup: bool = False,
) -> Batch:
    """Have it run again for what failed or was not worked on. ceiling, then: others than before.
    no_sync, no_setup: as of `devbox retry`. Conflict while it runs, or where nothing is left."""
    if batch.state is RunState.RUNNING:
        raise Conflict(f"batch {batch.id} is running", fix=f"devbox attach {batch.id}")
    asked = batches.asked(batch)
    pieces = ws.store.batches.pieces(batch.id)
    left = [piece for piece in pieces if piece.state is not PieceState.DONE]
    if not left:
        raise Conflict(
            f"every piece of batch {batch.id} is done",
            fix=f"its results are in {batches.results(batch)}",
        )
    board = Board((), ws.store.batches.workers(batch.id))
    ended = [each for w in board.workers for each in board.end(w.number).workers]
    again = [Piece(piece.name, piece.weight, bytes=piece.bytes) for piece in left]
    ws.store.batches.record(batch.id, again, ended)
    asked = msgspec.structs.replace(
        asked,
        ceiling=ceiling or asked.ceiling,
        then=then or asked.then,
        detached=False,
        no_sync=no_sync,
        no_setup=no_setup,
    )
    ws.store.batches.again(batch.id, msgspec.json.encode(asked))
    return ws.store.batches.get(batch.id) or batch

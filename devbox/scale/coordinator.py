"""The one process that gives out the rounds of a batch: it starts workers, watches them, and says
how it goes. When it ends early, the boxes finish what they hold, and the next one continues."""

from __future__ import annotations

import queue
import shutil
import threading
from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from pathlib import Path

import msgspec

from devbox import paths
from devbox.errors import Busy, Conflict, DevboxError, Locked
from devbox.files import locked, write_atomic
from devbox.jobs.fetch import NOTES
from devbox.jobs.follow import Note, Progress
from devbox.model import Batch, RunState, WorkerState
from devbox.scale import batch as batches
from devbox.scale.board import Board
from devbox.scale.cost import batch_cost
from devbox.scale.losses import gone, lose
from devbox.scale.team import Cancelled, Ended, Team
from devbox.scale.worker import work
from devbox.text import counted, dollars
from devbox.workspace import Workspace

Message = Note | Progress
_TICK = 0.3
_PRICES = 1.0  # seconds between two sums of what it cost
_LOOKS = 15.0  # seconds between two questions to the providers about all workers


def coordinate(ws: Workspace, batch: Batch, *, leave: bool = False) -> Generator[Message]:
    """Work on a batch to its end, or with `leave` until all of it was given out and this computer
    may go. Busy where another devbox does."""
    try:
        with (
            locked(batches.lock_file(paths.home(), batch), timeout=0),
            closing(_Coordinator(ws, batch, leave=leave).messages()) as messages,
        ):
            yield from messages
    except Locked:
        raise Busy(
            f"another devbox gives out the rounds of {batch.id}",
            means="nothing was changed",
            fix=f"watch it with: devbox attach {batch.id}",
        ) from None


class _Coordinator:
    def __init__(self, ws: Workspace, batch: Batch, *, leave: bool) -> None:
        self._ws, self._batch = ws, batch
        asked = batches.asked(batch)
        job = batches.job_of(ws.spec, batch)
        self._team = Team(ws, batch, asked, job, _files(ws, batch), leaving=leave)
        self._threads: dict[int, threading.Thread] = {}
        self._done = threading.Event()
        self._priced = 0.0
        self._cost: int | None = None

    @property
    def _board(self) -> Board:
        return self._team.board

    def messages(self) -> Generator[Message]:
        watch = threading.Thread(target=self._watch, daemon=True)
        watch.start()
        try:
            for worker in self._board.workers:
                self._begin(worker.number)
            shown: Progress | None = None
            while True:
                self._tick()
                yield from self._notes()
                now = self._progress()
                if now != shown:
                    yield now
                    shown = now
                if self._is_over():
                    break
            yield from self._notes()
        finally:
            self._done.set()
            self._team.end()
        if self._team.broken:
            raise self._team.broken
        if self._team.leaving:
            self._left()
            return
        self._end()

    def _tick(self) -> None:
        """What is due now."""
        team = self._team
        if team.broken:
            raise team.broken
        known = self._ws.store.batches.get(self._batch.id)
        if known is None or known.state is not RunState.RUNNING:
            team.cancelled = True
            team.wake_all()
            return
        now = self._ws.clock()
        if now - self._priced >= _PRICES:
            self._priced = now
            self._cost = batch_cost(self._ws, self._batch)
            self._board.ceiling.spent = self._cost or 0
        for _ in range(0 if team.cancelled else team.wanted()):
            try:
                self._begin(team.start_worker().number)
            except Cancelled:
                break
        if team.leaving and not team.shared.is_set() and team.all_ready():
            team.share_out()

    def _begin(self, number: int) -> None:
        worker = self._board.worker(number)
        if worker:
            thread = threading.Thread(target=work, args=(self._team, worker), daemon=True)
            self._threads[number] = thread
            thread.start()

    def _notes(self) -> Iterator[Note]:
        """Those that there are, after waiting a little for the first."""
        wait: float | None = _TICK
        while True:
            try:
                yield self._team.notes.get(timeout=wait) if wait else self._team.notes.get_nowait()
            except queue.Empty:
                return
            wait = None

    def _is_over(self) -> bool:
        if any(thread.is_alive() for thread in self._threads.values()):
            return False
        return self._team.cancelled or self._team.leaving or not self._team.wanted()

    def _progress(self) -> Progress:
        workers = [w for w in self._board.workers if w.state is not WorkerState.STARTING]
        message = f"{counted(len(workers), 'worker')}, {dollars(self._cost)}"
        left = None if self._team.leaving else self._team.seconds_left()
        settled, total = float(self._board.settled), float(len(self._board.pieces))
        return Progress(settled, total, "pieces", message, left)

    def _watch(self) -> None:
        """Ask the providers about all workers now and then: one that is gone is known to be so,
        also while its connection hangs."""
        mine = Workspace(self._ws.spec, clock=self._ws.clock, sleep=self._ws.sleep)
        mine.store = self._ws.store
        while not self._done.wait(_LOOKS):
            for worker in self._board.workers:
                box = mine.store.boxes.get(worker.box_id) if worker.box_id else None
                if box is None or worker.state is WorkerState.STARTING:
                    continue
                if why := gone(mine, box):
                    run = mine.store.runs.get(worker.run)
                    with suppress(Ended):
                        lose(self._team, mine, worker.number, run, why)

    def _left(self) -> None:
        """All of it is on the boxes. Conflict when it is on none."""
        if not self._board.workers:
            self._end()
            raise Conflict(
                f"no worker of {self._batch.id} came up",
                means="nothing of it was done",
                fix=f"devbox retry {self._batch.id}",
            )

    def _end(self) -> None:
        """Say what it came to, in the store and beside the results."""
        ws, batch = self._ws, self._batch
        counts = ws.store.batches.counts(batch.id)
        state, message = RunState.SUCCEEDED, ""
        if counts.failed:
            state = RunState.FAILED
            message = f"{counts.failed} of {counted(counts.total, 'piece')} failed"
        if counts.waiting or counts.given:
            state = RunState.FAILED
            left = counted(counts.waiting + counts.given, "piece")
            why = self._team.last_loss or "no worker is left"
            if self._board.stopped:
                why = f"more would cost over {dollars(self._team.asked.ceiling)}"
            message = f"{left} not worked on: {why}"
        if ws.store.batches.end(batch.id, state, message, ws.clock()):
            # What had come of a round when its worker was lost.
            shutil.rmtree(batches.staging(batch), ignore_errors=True)
            kind = "run-finished" if state is RunState.SUCCEEDED else "run-failed"
            for worker in ws.store.batches.workers(batch.id)[-1:]:
                if worker.box_id:
                    text = f"batch {batch.id} {state}" + f": {message}" * bool(message)
                    ws.store.events.add(worker.box_id, kind, text, ws.clock())
        note(ws, batch)


def note(ws: Workspace, batch: Batch) -> Path:
    """Write beside the results how the batch is; the folder of its results."""
    found = ws.store.batches.get(batch.id) or batch
    counts = ws.store.batches.counts(batch.id)
    failed = [
        {"piece": piece.name, "error": piece.error}
        for piece in ws.store.batches.pieces(batch.id)
        if piece.state == "failed"
    ]
    text = msgspec.json.format(
        msgspec.json.encode(
            {
                "batch": batch.id,
                "state": found.state,
                "message": found.message,
                "created": found.created,
                "ended": found.ended,
                "cost_micro_dollars": batch_cost(ws, batch),
                "pieces": counts,
                "failures": failed,
                "parts": [run.id for run in batches.parts(ws, batch)],
            }
        )
    )
    folder = batches.results(batch)
    (folder / NOTES).mkdir(parents=True, exist_ok=True)
    write_atomic(folder / NOTES / "status.json", text + b"\n", mode=0o644)
    return folder


def _files(ws: Workspace, batch: Batch) -> dict[str, list[Path]]:
    """Piece → its files as they are here now; none where the input is gone."""
    asked = batches.asked(batch)
    source = Path(asked.source)
    if not source.exists():
        return {}
    try:
        return batches.files(batches.job_of(ws.spec, batch), asked.input, source)
    except DevboxError:
        return {}  # why: what is missing fails by its name

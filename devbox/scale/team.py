"""What the threads of a batch share: its board, behind one lock, and what is written down of it.

Every change of the board is written into the store before anybody acts on it, so that a computer
that goes in between finds the batch as it stands.
"""

from __future__ import annotations

import queue
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from devbox.errors import DevboxError
from devbox.jobs.follow import Note
from devbox.model import Batch, Box, Worker, WorkerState
from devbox.scale import batch as batches
from devbox.scale.batch import Asked
from devbox.scale.board import Board
from devbox.scale.merge import flush, merge
from devbox.scale.slot import Changed, Round, Turn
from devbox.spec import JobSpec
from devbox.wire.jobs import RoundDone
from devbox.workspace import Workspace


class Team:
    """files: piece → its files here. leaving: all rounds are given at once, after every worker is
    ready, and nobody stays for their results."""

    def __init__(
        self,
        ws: Workspace,
        batch: Batch,
        asked: Asked,
        job: JobSpec,
        files: Mapping[str, list[Path]],
        *,
        leaving: bool = False,
    ) -> None:
        self.ws, self.batch, self.asked, self.job, self.files = ws, batch, asked, job, files
        self.notes: queue.SimpleQueue[Note] = queue.SimpleQueue()
        #: an error that is no worker's own
        self.broken: BaseException | None = None
        self.cancelled = False
        self.ended = False  # nobody writes any more: another process may continue
        self.last_loss = ""
        self.leaving = leaving
        #: all rounds were given out
        self.shared = threading.Event()
        self._lock = threading.RLock()
        self._merging = threading.Lock()
        self._beside: set[str] = set()  # names that were told to be in several rounds
        self._wakes: dict[int, threading.Event] = {}
        store = ws.store.batches
        self.board = Board(
            store.pieces(batch.id),
            store.workers(batch.id),
            least=asked.least,
            most=asked.most,
            ceiling=asked.ceiling,
            speculate=asked.speculate,
        )

    def say(self, text: str) -> None:
        self.notes.put(Note(text))

    def workspace(self, box_name: str) -> Workspace:
        """For a worker's thread: its own providers, the shared store, and its box as if devbox.toml
        had it."""
        project = batches.with_worker(self.ws.spec, self.batch, box_name, self.asked.provider)
        mine = Workspace(project, clock=self.ws.clock, sleep=self.ws.sleep, narrate=self.say)
        mine.store = self.ws.store
        mine.integrate = self.ws.integrate
        mine.tell_every = self.ws.tell_every
        return mine

    # The board, one at a time, written down

    @contextmanager
    def _turn(self) -> Iterator[None]:
        with self._lock:
            if self.ended:
                raise Ended
            self.board.now = self.ws.clock()
            yield

    def start_worker(self) -> Worker:
        """A new one, on a box whose name is free."""
        with self._turn():
            taken = [worker.box_name for worker in self.board.workers]
            name = batches.box_name(self.ws, self.batch, taken)
            changed = self.board.start(name)
            self._write(changed, running=True)
            return changed.workers[-1]

    def wanted(self) -> int:
        """How many workers to start now."""
        with self._turn():
            return 0 if self.shared.is_set() else self.board.wanted()

    def seconds_left(self) -> float | None:
        with self._turn():
            return self.board.seconds_left

    def all_ready(self) -> bool:
        """No worker is still on its way."""
        with self._turn():
            workers = self.board.workers
            return bool(workers) and all(w.state is not WorkerState.STARTING for w in workers)

    def placed(self, number: int, box: Box) -> None:
        with self._turn():
            self._write(self.board.place(number, box_id=box.id, price=box.price.micro_per_hour))

    def opened(self, number: int, run: str) -> None:
        with self._turn():
            self._write(self.board.open(number, run))

    def over(self, number: int, why: str = "") -> None:
        """That worker is over, or lost for a reason; its pieces wait again."""
        with self._turn():
            worker = self.board.worker(number)
            changed = self.board.end(number, why)
            self._write(changed)
        if worker and why:
            self.last_loss = f"{worker.box_name}: {why}"
            again = f"; {len(changed.pieces)} pieces wait for others" if changed.pieces else ""
            self.say(f"{worker.box_name}: lost: {why}{again}")

    def is_finished(self) -> bool:
        """Every piece is done or has failed."""
        with self._turn():
            return self.board.finished

    def is_member(self, number: int) -> bool:
        with self._turn():
            return self.board.worker(number) is not None

    def reach(self, number: int, *, reachable: bool) -> None:
        with self._turn():
            self.board.reach(number, reachable=reachable)

    def turn(self, number: int, lag: float) -> Turn:
        """What to ask of it; nothing is given any more once the batch was cancelled."""
        with self._turn():
            if self.board.worker(number) is None:
                return Turn()
            turn, changed = self.board.turn(number, lag=lag)
            if turn.close:
                changed = self.board.closed(number)
            self._write(changed, running=turn.give is not None)
            return turn

    def held(self, number: int) -> list[Round]:
        with self._turn():
            return self.board.held(number)

    def heard(
        self,
        number: int,
        begun: tuple[int, ...],
        withdrawn: tuple[int, ...],
        waiting: tuple[int, ...] = (),
    ) -> None:
        with self._turn():
            if self.board.worker(number):
                self._write(self.board.heard(number, begun, withdrawn, waiting))

    def is_spare(self, number: int) -> bool:
        """Whether all that it works on was finished by others."""
        with self._turn():
            return self.board.is_spare(number)

    def seconds_held(self, number: int) -> float | None:
        with self._turn():
            return self.board.seconds_held(number)

    def settle(self, number: int, done: RoundDone, staged: Path) -> None:
        """Put the results of a round among those of the batch, and its pieces down as done, once.
        staged: where its results are here now. Those of a round that others finished first are
        dropped."""
        flush(staged)
        with self._merging:
            held = {each.number: each.pieces for each in self.held(number)}
            if done.number not in held:
                return  # its pieces were given to another, because this one was taken for lost
            mark = f"w{number}-r{done.number}"
            if not held[done.number]:
                shutil.rmtree(staged, ignore_errors=True)
                with self._turn():
                    self.board.settle(number, done.number, done.seconds, {})
                self.say(f"{mark}: another worker finished it first; these results are dropped")
                return
            beside = merge(staged, batches.results(self.batch), mark)
            failed = blamed(held[done.number], {each.item: each.error for each in done.failed})
            with self._turn():
                changed = self.board.settle(number, done.number, done.seconds, failed)
                self._write(changed)
        for each in beside:
            if each.name not in self._beside:
                self._beside.add(each.name)
                self.say(f"{each.name}: rounds wrote it differently; kept beside: {each.kept}, …")
        for piece in changed.pieces:
            if piece.name in failed:
                again = "; another worker tries it" if not piece.state.is_settled else ""
                self.say(f"{piece.name}: failed: {piece.error}{again}")

    def drop(self, number: int, round_: int, gone: Mapping[str, str]) -> None:
        """A round that was never sent, because of what is `gone` of it."""
        with self._turn():
            self._write(self.board.drop(number, round_, gone))
        for name, why in gone.items():
            self.say(f"{name}: failed: {why}")

    def share_out(self) -> None:
        """Give out all of it, once, to the workers that are ready."""
        with self._turn():
            pieces = self.board.share_out().pieces
            for worker in self.board.workers:
                self.board.closed(worker.number)
            self._write(Changed(pieces, self.board.workers), running=True)
        self.shared.set()

    def end(self) -> None:
        """Nothing is written any more by what still runs here."""
        with self._lock:
            self.ended = True

    # Waking each other

    def wait(self, number: int, seconds: float) -> None:
        """Until something changes for that worker, at most so long."""
        wake = self._wakes.setdefault(number, threading.Event())
        wake.wait(seconds)
        wake.clear()

    def wake_all(self) -> None:
        for number in list(self._wakes):
            self._wakes[number].set()

    def _write(self, changed: Changed, *, running: bool = False) -> None:
        if not (changed.pieces or changed.workers):
            return
        written = self.ws.store.batches.record(
            self.batch.id, changed.pieces, changed.workers, running=running
        )
        if not written:
            self.cancelled = True
            raise Cancelled(f"batch {self.batch.id} was cancelled")
        for number in self.board.stirred():
            self._wakes.setdefault(number, threading.Event()).set()


class Ended(Exception):
    """This process no longer works on the batch."""


class Cancelled(DevboxError):
    """The batch was cancelled meanwhile, here or by another devbox."""


def blamed(pieces: tuple[str, ...], failed: Mapping[str, str]) -> dict[str, str]:
    """Piece → why it failed. failed: by item, which is a piece, or a part of one by its name; an
    item that nothing tells the piece of fails all of its round, which are tried again."""
    found: dict[str, str] = {}
    known = set(pieces)
    for item, error in failed.items():
        parts = item.split("/")
        above = ("/".join(parts[:end]) for end in range(len(parts), 0, -1))
        piece = next((name for name in above if name in known), None)
        for name in pieces if piece is None else (piece,):
            found.setdefault(name, error)
    return found

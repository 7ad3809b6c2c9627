"""The process that watches one run to its end, with nobody logged in.

It is detached from the ssh session that started it, keeps the run's log and events, ends the run
on cancel and timeout with everything it started, and is the only writer of status.json. A worker
of a job with items that crashes costs the item that did it; the others continue in a new worker.
"""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, List, Optional, Tuple

from devbox.box import event_log, processes
from devbox.box.items import Items, read_items
from devbox.box.job import PART
from devbox.box.runs import devices, queue, turn, worker
from devbox.box.runs.folder import RunFolder
from devbox.box.runs.jsonl import Tail, append
from devbox.box.runs.log import LogWriter
from devbox.box.runs.outcome import Outcome, judge
from devbox.box.runs.part import settle
from devbox.box.runs.process_group import Work, python_command, signal_name
from devbox.box.runs.progress import Tally
from devbox.box.runs.rounds import Rounds
from devbox.box.runs.vram import GpuReader, PeakVram
from devbox.wire.jobs import Attempt, JobRequest, JobStatus, Peak

if TYPE_CHECKING:
    from devbox.box.services.watch import Watcher

_TICK = 0.1
_STATUS_EVERY = 0.5
_USAGE_EVERY = 2.0
_LEFTOVER_GRACE = 2.0  # for what a finished run left behind
_UNKILLABLE = 10.0  # seconds after SIGKILL that a process stuck in the kernel is waited for
_CRASHES = 20  # workers in a row that crash before the run is given up
_LOCK_PATIENCE = 5.0  # for the supervisor of an attempt that is over to be gone


def main(argv: List[str]) -> int:
    """Runs in a session of its own; says "ready" on stdout once status.json tells of it."""
    folder = RunFolder(argv[0])
    request = folder.request()
    with open(folder.path / "supervisor.lock", "ab") as lock:
        give_up = time.monotonic() + _LOCK_PATIENCE
        while True:
            status = folder.status()
            if status is not None and status.attempt >= request.attempt:
                return 0  # a start whose reply was lost has done it already
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > give_up:
                    return 0
                time.sleep(0.02)
        gpus: Optional[Tuple[str, ...]] = ()
        if request.queue is not None:
            gpus = turn.take(folder, request)
        if gpus is not None:
            Supervisor(folder, request, folder.status(), gpus).run()
            queue.wake()
    return 0


class Supervisor:
    """One attempt of one run. previous: the status the last attempt left. given: the GPUs that it
    has for itself."""

    def __init__(
        self,
        folder: RunFolder,
        request: JobRequest,
        previous: Optional[JobStatus],
        given: Tuple[str, ...] = (),
    ) -> None:
        self._folder, self._request = folder, request
        self._attempt, self._given = request.attempt, given
        self._log = LogWriter(folder.path)
        self._log_error = ""
        self._tally = _tally(folder, request)
        self._rounds = Rounds(folder) if request.spread else None
        self._crashed_in: Optional[int] = None
        self._tails = [Tail(folder.items, at_end=True), Tail(folder.reports, at_end=True)]
        self._started, self._begun = time.time(), time.monotonic()
        self._attempts = [*(previous.attempts if previous else ()), Attempt(self._started)]
        self._me = processes.identity(os.getpid())
        self._vram, self._gpus = PeakVram(), GpuReader()
        self._watcher = _watcher(folder, request)
        self._service = self._watcher.status if self._watcher else None
        self._rss = 0
        self._stopped = ""
        self._status_at = self._usage_at = 0.0
        self._dirty = True

    def run(self) -> None:
        """To the end, whatever happens: even a fault in here leaves an honest status."""
        processes.adopt_orphans()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._on_terminate)
        try:
            self._prepare()
            code, timeout = self._work(), self._request.timeout
            is_service = self._watcher is not None
            self._finish(judge(code, self._stopped, timeout, self._tally, service=is_service))
        except Exception as error:
            traceback.print_exc()  # into supervisor.log
            self._folder.end_strays()
            message = f"the supervisor failed: {type(error).__name__}: {error}"
            self._finish(Outcome("failed", "error", message, 1, None))

    def _on_terminate(self, *_: object) -> None:
        """A cancel leaves its mark before the signal; without one the box is going down."""
        if not self._stopped:
            cancelled = self._folder.cancel_mark.exists()
            self._stopped = "cancelled" if cancelled else "interrupted"

    def _prepare(self) -> None:
        self._save()
        on = f" on {', '.join(self._given)}" if self._given else ""
        self._tell("started", f"attempt {self._attempt}{on}")
        turn.ready()

    def _work(self) -> int:
        """Workers, until one ends for a reason of the run and not of one item. Its code."""
        crashes = 0
        while True:
            for out in self._outs():
                for part in out.rglob(f".*{PART}*"):
                    part.unlink()  # an output that an earlier worker left unfinished
            done_before = len(self._tally.done)
            work = Work(
                python_command("runs.worker", self._folder.id),
                {
                    **worker.environ(self._folder, self._request, self._attempt),
                    **devices.environment(self._given),
                },
                self._folder.mark,
            )
            code = self._watch(work)
            self._sweep(work)
            crashes = 0 if len(self._tally.done) > done_before else crashes + 1
            if code >= 0 or self._stopped or crashes > _CRASHES or not self._blame(-code):
                return code
            self._tell("restarted", "the worker crashed on an item")

    def _outs(self) -> List[Path]:
        """The folders of results that are worked on."""
        if self._rounds is None:
            return [self._folder.out]
        return [self._rounds.folder(each) / "out" for each in self._rounds.read().begun]

    def _watch(self, work: Work) -> int:
        """Until the worker has ended; its code."""
        timeout = self._request.timeout
        while work.exit is None:
            self._listen(work, _TICK)
            work.reap()
            if timeout is not None and time.monotonic() - self._begun >= timeout:
                self._stopped = self._stopped or "timeout"
            if self._folder.cancel_mark.exists():
                self._stopped = self._stopped or "cancelled"
            if self._stopped:
                # A box that goes down has asked every process already; a second SIGTERM would end
                # the helpers that save by now.
                work.end(self._request.grace, ask=self._stopped != "interrupted")
            waits = self._folder.waiting_mark.exists()
            if time.monotonic() - self._usage_at >= _USAGE_EVERY and not waits:
                self._measure(work.pid)
            self._observe()
        return work.exit

    def _sweep(self, work: Work) -> None:
        """End what the worker left behind, then take in the last of what it said."""
        give_up = time.monotonic() + self._request.grace + _UNKILLABLE
        while work.pids() and time.monotonic() < give_up:
            work.end(_LEFTOVER_GRACE)
            self._listen(work, 0.02)
            work.reap()
        while self._listen(work, 0.0):
            continue
        work.close()
        while any(tail.is_behind for tail in self._tails):
            self._observe()

    def _listen(self, work: Work, patience: float) -> bool:
        data = work.read(patience)
        try:
            self._log.write(data)
        except OSError as error:  # a full disk must not end the run's only witness
            self._log_error = f"the log is not complete: {error.strerror}"
        self._dirty = self._dirty or bool(data)
        return bool(data)

    def _observe(self) -> None:
        """Take in reports and publish."""
        now = time.monotonic()
        for tail in self._tails:
            for line in tail.lines():
                self._dirty = True
                failure = self._tally.feed(line, now)
                if failure:
                    self._tell("item", f"failed: {failure.item}: {failure.error}")
        self._look()
        if self._dirty and now - self._status_at >= _STATUS_EVERY:
            self._save()

    def _look(self) -> None:
        """How the service is."""
        if self._watcher is None:
            return
        if self._tally.port:
            self._watcher.tell(self._tally.port)
        before, self._service = self._service, self._watcher.status
        if self._service != before:
            self._dirty = True
        if self._service.since and not (before and before.since):
            self._tell("ready", f"ready on port {self._service.port}")
            self._status_at = 0.0

    def _tell(self, kind: str, message: str) -> None:
        """A full disk loses events, never the run; status.json still tells how it ended."""
        with suppress(OSError):
            event_log.append(self._folder.path, kind, message)

    def _measure(self, pid: int) -> None:
        self._usage_at = time.monotonic()
        table = processes.table()
        work = {process.pid: process for process in processes.descendants(pid, table)}
        work.update({process.pid: process for process in table if process.pid == pid})
        self._rss = max(self._rss, sum(process.rss for process in work.values()))
        self._vram.feed(devices.given(self._gpus.latest, self._given), work)

    def _blame(self, number: int) -> bool:
        """After a worker was killed by a signal: fail the item it was at. Of several that were
        under way at once each is suspect, and the next worker takes them one at a time. True when
        there was one, so that a new worker may continue with the rest."""
        at = [
            name
            for name, record in read_items(self._folder.items).items()
            if record.get("state") == "started" and record.get("attempt") == self._attempt
        ]
        why = f"crashed the worker ({signal_name(number)})"
        state = "failed" if len(at) == 1 else "suspect"
        for name in at:
            record = {"item": name, "state": state, "error": why, "attempt": self._attempt}
            append(self._folder.items, record, before=b"\n")
        return bool(at) or self._blame_round(why)

    def _blame_round(self, why: str) -> bool:
        """After a crash outside of items: the round is tried once more, then it has failed. True
        where the run has rounds, so that a new worker may continue."""
        if self._rounds is None:
            return False
        found = next(iter(self._rounds.read().begun.values()), None)
        if found is not None and found.number == self._crashed_in:
            items = Items(self._folder.items, self._attempt)
            self._rounds.finish(settle(items, found, (), f"{why} twice"))
        self._crashed_in = found.number if found is not None else None
        return True

    def _finish(self, outcome: Outcome) -> None:
        while any(tail.is_behind for tail in self._tails):
            self._observe()
        self._gpus.close()
        if self._watcher:
            self._watcher.close()
            self._service = self._watcher.status
        (self._folder.path / "secrets.json").unlink(missing_ok=True)
        # What was too short to be sampled; the kernel keeps it for the largest single process.
        largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        self._rss = max(self._rss, largest * (1 if sys.platform == "darwin" else 1024))
        self._vram.measured(self._tally.vram)
        self._attempts[-1] = self._attempts[-1]._replace(ended=time.time())
        self._tell("ended", outcome.message or outcome.state)
        self._log.close()
        self._save(outcome)

    def _save(self, outcome: Optional[Outcome] = None) -> None:
        self._status_at, self._dirty = time.monotonic(), False
        said = (outcome.message if outcome else "", self._log_error)
        status = JobStatus(
            id=self._folder.id,
            job=self._request.job,
            state=outcome.state if outcome else "running",
            reason=outcome.reason if outcome else "",
            message="; ".join(text for text in said if text),
            attempt=self._attempt,
            attempts=tuple(self._attempts),
            started=self._started,
            ended=self._attempts[-1].ended,
            exit_code=outcome.exit_code if outcome else None,
            signal=outcome.signal if outcome else None,
            peak=Peak(self._rss or None, self._vram.peak, self._vram.source),
            log_bytes=self._log.offset,
            log_dropped=self._log.dropped,
            t=time.time(),
            supervisor=self._me,
            service=self._service,
            gpus=self._given,
        )
        status = self._tally.told(status)
        if outcome:
            status = status._replace(eta=None)
        try:
            self._folder.write_status(status)
        except OSError:
            # A full disk: tried again at the next tick. Should the last write fail too, then a
            # reader finds this process gone and calls the run interrupted.
            self._dirty = True


def _tally(folder: RunFolder, request: JobRequest) -> Tally:
    """What earlier attempts have left."""
    items = read_items(folder.items)
    done, skipped, failed = (
        {name: record for name, record in items.items() if record.get("state") == state}
        for state in ("done", "skipped", "failed")
    )
    errors = {name: str(record.get("error") or "") for name, record in failed.items()}
    return Tally(set(done), set(skipped), errors if request.spread else None)


def _watcher(folder: RunFolder, request: JobRequest) -> Optional[Watcher]:
    if request.service is None:
        return None
    from devbox.box.services.watch import Watcher  # why here: most runs are no services

    return Watcher(folder, request.service)

"""A run's wait for its turn, in its supervisor: until what it is to begin after has succeeded, and
the GPUs or the place that it wants are free.

Each waiting run looks for itself whether it is next (order, queue), so nothing has to be up but
them. They look when a run came, began or left; one that leaves wakes the next. Now and then the
next one sees to it that those which have GPUs live, and each other one that the one in front of it
does.
"""

from __future__ import annotations

import os
import select
import signal
import time
import traceback
from contextlib import suppress
from typing import List, NamedTuple, Optional, Sequence, Tuple, Union

from devbox.box import event_log, processes
from devbox.box.probes import gpu
from devbox.box.runs import devices, order, queue
from devbox.box.runs.devices import Device
from devbox.box.runs.folder import RunFolder, all_queued
from devbox.box.runs.log import LogWriter
from devbox.box.runs.order import Entry, Verdict
from devbox.box.runs.outcome import Ended
from devbox.wire.jobs import JobRequest, JobStatus, Queued, QueueRequest, ServiceStatus
from devbox.wire.messages import Identity

# Seconds between two cheap reads: of the first two of the line, of the others, and of those that
# wait for runs.
_FIRST, _BEHIND, _AFTER = 1.0, 3.0, 1.0
_LOOK = 5.0  # seconds between two looks for one that was killed, and at GPUs that others use
_RARELY = 60.0
_COST = 500.0  # looks at the GPUs take at most one part in so many of the time
_OUTSIDE = ("programs", "driver")  # what only a look at the GPUs can tell
_PATIENCE = 10.0  # seconds for the driver to tell of the GPUs


class Over(NamedTuple):
    """It will not begin."""

    state: Ended
    reason: str
    message: str


def take(folder: RunFolder, request: JobRequest) -> Optional[Tuple[str, ...]]:
    """Wait for the turn of that run. The GPUs it is given; None when it ended instead, and its
    status says how."""
    turn = Turn(folder, request, folder.status())
    try:
        return turn.wait()
    except Exception as error:
        traceback.print_exc()  # into supervisor.log
        message = f"the supervisor failed: {type(error).__name__}: {error}"
        turn.end(Over("failed", "error", message))
        return None


class Turn:
    """previous: the status that the last attempt left. entry: what it is in the queue."""

    def __init__(
        self, folder: RunFolder, request: JobRequest, previous: Optional[JobStatus]
    ) -> None:
        self._folder, self._request = folder, request
        self._wants = request.queue or QueueRequest()
        me = processes.identity(os.getpid())
        self._status = (previous or JobStatus())._replace(
            id=folder.id,
            job=request.job,
            state="queued",
            reason="",
            message="",
            attempt=request.attempt,
            ended=None,
            exit_code=None,
            signal=None,
            eta=None,
            gpus=(),
            supervisor=me,
            service=ServiceStatus() if request.service else None,
        )
        timeout, grace = request.timeout, request.grace
        self.entry = Entry(
            me,
            time.monotonic(),
            self._wants.priority,
            self._wants.gpus,
            self._wants.max_runs,
            None if timeout is None or request.service else timeout + grace,
            not self._wants.after,
            request.service is not None,
        )
        self._since = time.time()
        self._after = {name: str(RunFolder(name).active_mark) for name in self._wants.after}
        self._watched = [str(where) for where in all_queued()]
        self._gpus: Optional[gpu.Source] = None
        self._devices: Optional[List[Device]] = None if self._wants.gpus else []
        self._look_at = self._settle_at = float("-inf")
        self._stamp: List[int] = []
        self._watches: List[Optional[Identity]] = []
        self._place = 1
        self._told = self._terminated = False

    def wait(self) -> Optional[Tuple[str, ...]]:
        """As `take`."""
        self._wake, waker = os.pipe()
        os.set_blocking(waker, False)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._on_terminate)
        signal.signal(signal.SIGCONT, lambda *_: None)  # it wakes the wait below (queue.wake)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        try:
            queue.enter(self._folder, self.entry)
            found = self._until_over()
        finally:
            signal.set_wakeup_fd(-1)
            os.close(waker)
            os.close(self._wake)
            self._close_gpus()
        if isinstance(found, Over):
            self.end(found)
            return None
        return found

    def _on_terminate(self, *_: object) -> None:
        self._terminated = True

    def _until_over(self) -> Union[Over, Tuple[str, ...]]:
        while True:
            if self._terminated and self._folder.cancel_mark.exists():
                return Over("cancelled", "cancelled", "cancelled; it had not begun")
            if self._terminated:
                what = "interrupted: the box was going down; it had not begun"
                return Over("failed", "interrupted", what)
            over = self._look_after()
            if over:
                return over
            if not self._after and self._is_due():
                verdict = self._look()
                if verdict.begins:
                    return verdict.gpus
                self._publish(verdict.queue)
            pause = _AFTER if self._after else _FIRST if self._place <= 2 else _BEHIND
            if select.select([self._wake], [], [], pause)[0]:
                os.read(self._wake, 512)

    def _look_after(self) -> Optional[Over]:
        """Why it will never begin; None while it may."""
        if not self._after:
            return None
        settle = time.monotonic() >= self._settle_at
        for name, mark in list(self._after.items()):
            if not settle and os.path.exists(mark):
                continue
            status = RunFolder(name).settled()
            state = status.state if status else "gone from the box"
            if state == "succeeded":
                del self._after[name]
            elif status is None or status.is_over:
                why = f": {status.message}" if status and status.message else ""
                what = f"run {name}, which it was to begin after, is {state}{why}"
                return Over("failed", "after", what)
        if not self._after:
            self.entry = self.entry._replace(ready=True)
            queue.enter(self._folder, self.entry)
        elif settle:
            self._settle_at = time.monotonic() + _LOOK
            runs = "run " if len(self._after) == 1 else f"{len(self._after)} runs: "
            named = ", ".join(list(self._after)[:3]) + (" …" if len(self._after) > 3 else "")
            self._publish(Queued(self._since, "runs", f"waits for {runs}{named}"))
        return None

    def _is_due(self) -> bool:
        stamp = [os.stat(where).st_mtime_ns for where in self._watched]
        if stamp == self._stamp:
            if time.monotonic() < self._look_at:
                return False
            queued = self._status.queue
            if queued and queued.waits_for not in _OUTSIDE:
                self._look_at = time.monotonic() + _LOOK * min(self._place, 3)
                return not all(processes.is_alive(each) for each in self._watches)
        self._stamp = stamp
        return True

    def _look(self) -> Verdict:
        """Whether it is its turn; then it has what it wants."""
        took = self._look_at_devices() if self._devices is None else 0.0
        known = [each._replace(used=None) for each in self._devices or ()]
        verdict = self._judge(known, take=not self._wants.gpus)
        if verdict.begins and self._wants.gpus:
            # By the queue's own books. Now what other programs do with them.
            took = self._look_at_devices()
            verdict = self._judge(self._devices or (), take=True)
        if self._devices is None:
            why = "waits to know which GPUs the box has: its driver does not answer"
            verdict = Verdict(False, queue=Queued(0.0, "driver", why))
        self._place = verdict.queue.place or 1
        costly = verdict.queue.waits_for in _OUTSIDE
        pause = min(_RARELY, max(_LOOK, _COST * took)) if costly else _LOOK
        self._look_at = time.monotonic() + pause
        return verdict

    def _judge(self, known: Sequence[Device], *, take: bool) -> Verdict:
        while True:
            with queue.lock():
                waiting, holding, gone = queue.read()
                waiting[self._folder.id] = self.entry
                now = time.monotonic()
                verdict = order.judge(self._folder.id, waiting, holding, known, now)
                line = order.in_order(waiting)
                place = line.index(self._folder.id)
                ahead = [waiting[line[place - 1]]] if place else holding.values()
                self._watches = [each.supervisor for each in ahead]
                if verdict.begins and take:
                    queue.begin(self._folder, self.entry._replace(holds=verdict.gpus))
            if verdict.begins or not gone:
                return verdict
            for name in gone:
                queue.bury(name)

    def _look_at_devices(self) -> float:
        """Read which GPUs there are and how much of each is used; the seconds that it took."""
        begun = time.monotonic()
        self._gpus = self._gpus or gpu.detect()
        rows = gpu.look(self._gpus, _PATIENCE)
        if self._gpus.name != "nvml":
            self._close_gpus()  # a program that prints each second
        self._devices = None if rows is None else devices.usable(rows, visible(self._request))
        return time.monotonic() - begun

    def _close_gpus(self) -> None:
        if self._gpus is not None:
            self._gpus.close()
            self._gpus = None

    def _publish(self, queued: Queued) -> None:
        queued = queued._replace(since=self._since)
        if self._told and queued == self._status.queue:
            return
        self._status = self._status._replace(queue=queued, t=time.time())
        with suppress(OSError):  # a full disk: told again with the next change
            self._folder.write_status(self._status)
            if not self._told:
                event_log.append(self._folder.path, "queued", queued.why)
        if not self._told:
            self._told = True
            ready()

    def end(self, over: Over) -> None:
        LogWriter(self._folder.path).close()  # a reader finds one
        (self._folder.path / "secrets.json").unlink(missing_ok=True)
        with suppress(OSError):
            event_log.append(self._folder.path, "ended", over.message)
        now = time.time()
        status = self._status._replace(
            state=over.state, reason=over.reason, message=over.message, ended=now, t=now, queue=None
        )
        self._folder.write_status(status)
        queue.wake()
        if not self._told:
            ready()


def gpus(request: JobRequest) -> Optional[int]:
    """How many this box can give to such a run; None when the driver does not tell."""
    source = gpu.detect()
    try:
        rows = gpu.look(source, _PATIENCE)
    finally:
        source.close()
    return None if rows is None else len(devices.usable(rows, visible(request)))


def visible(request: JobRequest) -> Optional[str]:
    """What the run's CUDA_VISIBLE_DEVICES would be; None where nothing sets it."""
    return request.env.get(devices.VARIABLE, os.environ.get(devices.VARIABLE))


def ready() -> None:
    """Tell `job start` that status.json is written; what is told later goes nowhere."""
    with suppress(OSError):
        os.write(1, b"ready\n")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 1)
    os.close(nothing)

"""The folder of one run on the box, runs/<id>/, and what its status is for certain.

request.json    what `job start` was given (0600)
status.json     a `JobStatus`; written by the run's supervisor alone while that lives
events.jsonl    what happened, for followers (devbox.box.event_log)
items.jsonl     what became of each item (devbox.box.items)
rounds.jsonl    the rounds of a run that has them (devbox.box.runs.rounds), and
rounds/<n>/     the folder of each: out/ is its result
reported.jsonl  $DEVBOX_EVENTS: where the work reports its progress
log.txt …       what the work printed, bounded (devbox.box.runs.log)
cancel          exists once someone asked to stop
out/            the result
scratch/        what a job keeps for a retry (devbox.box.job)
"""

from __future__ import annotations

import fcntl
import os
import re
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, List, Optional, Tuple

from devbox.box import json_file, paths, processes
from devbox.box.notices import about, outbox
from devbox.box.watchdog import config
from devbox.wire.codec import Unreadable, decode
from devbox.wire.jobs import JobRequest, JobStatus, Refusal, Refused
from devbox.wire.messages import Identity, WatchdogConfig

MAX_REQUEST = 8 << 20  # bytes
MARK = "DEVBOX_RUN_FOLDER"
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,79}")


class BadRequest(Exception):
    """The request cannot be carried out. kind: `Refusal.error`."""

    def __init__(self, kind: Refused, message: str) -> None:
        super().__init__(message)
        self.refusal = Refusal(kind, message)


class RunFolder:
    """runs/<id>. BadRequest when the id could name anything but a folder of ours."""

    def __init__(self, run_id: str) -> None:
        if not isinstance(run_id, str) or not _ID.fullmatch(run_id):
            raise BadRequest("bad_request", "a run id is lower-case letters, digits and '-'")
        self.id = run_id
        self.path = paths.runs() / run_id
        self.out = self.path / "out"
        self.items = self.path / "items.jsonl"
        self.reports = self.path / "reported.jsonl"
        self.cancel_mark = self.path / "cancel"
        #: of a service: exists from when it is no running job any more (devbox.box.services.watch)
        self.serving_mark = _shared("serving") / run_id
        #: of a run with rounds: exists while there is none to work on
        self.waiting_mark = _shared("waiting") / run_id
        #: exists while it runs or waits
        self.active_mark = _shared("active") / run_id
        #: while it waits, and while it has what it waited for (devbox.box.runs.queue)
        self.queued, self.holding = (where / run_id for where in all_queued())
        #: of a service: its requests, {"count", "in_flight"}
        self.served = _shared("served") / f"{run_id}.json"

    @property
    def mark(self) -> str:
        """What the environment of every process of this run holds. The folder and not the id:
        two boxes on one host may each have a run of that id."""
        return f"{MARK}={os.path.realpath(self.path)}"

    def request(self) -> JobRequest:
        """What this run was started with. OSError, Unreadable."""
        data = (self.path / "request.json").read_bytes()
        try:
            return decode(data, JobRequest, limit=MAX_REQUEST)
        except Unreadable as error:
            raise Unreadable(f"the request of run {self.id} could not be read: {error}") from None

    def status(self) -> Optional[JobStatus]:
        """What status.json says, true or not; `settled` is the honest one."""
        return json_file.load(self.path / "status.json", JobStatus)

    def write_status(self, status: JobStatus) -> None:
        """Also keeps the run in, or takes it out of, the list of active ones."""
        if not status.is_over and not self.active_mark.exists():
            json_file.write(self.active_mark, status.supervisor, durable=True)
        json_file.write(self.path / "status.json", status, durable=True)
        if status.is_over:
            for path in (
                self.active_mark,
                self.serving_mark,
                self.waiting_mark,
                self.served,
                self.queued,
                self.holding,
            ):
                path.unlink(missing_ok=True)
            _tell_over(status)

    def require(self) -> JobStatus:
        """The settled status. BadRequest when the box knows no such run."""
        return self.known(self.settled())

    def known(self, status: Optional[JobStatus]) -> JobStatus:
        """`status`; BadRequest where there is none."""
        if status is None:
            raise BadRequest("not_found", f"this box has no run {self.id}")
        return status

    def settled(self) -> Optional[JobStatus]:
        """The status, after making sure that 'running' means that it runs.

        A supervisor that is gone without a last word (killed, out of memory, reboot) leaves a
        run that is failed, and perhaps processes that nobody watches: those are ended.
        """
        status = self.status()
        if status is None or status.is_over or processes.is_alive(status.supervisor):
            return status
        with self.lock():
            status = self.status()
            if status is None or status.is_over or processes.is_alive(status.supervisor):
                return status
            self.end_strays()
            known = status.supervisor
            rebooted = known is None or known.boot != processes.boot_id()
            how = "the box was restarted" if rebooted else "its supervisor was killed"
            last = status.t or status.started
            waited = "it had not begun" if status.state == "queued" else "what is done is kept"
            attempts = [a._replace(ended=last) if a.ended is None else a for a in status.attempts]
            status = status._replace(
                state="failed",
                reason="interrupted",
                message=f"interrupted: {how}; {waited}",
                ended=last,
                eta=None,
                attempts=tuple(attempts),
                queue=None,
            )
            self.write_status(status)
            return status

    def end_strays(self) -> None:
        """Kill what runs without its supervisor. It cannot be told to save: nobody reads it."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            strays = processes.marked(self.mark)
            if not strays:
                return
            processes.send(strays, 9)
            time.sleep(0.02)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Starting and settling a run happen one at a time."""
        self.path.mkdir(mode=0o700, exist_ok=True)
        with open(self.path / "lock", "ab") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield


def all_runs() -> List[RunFolder]:
    """Every run of this box, oldest first by start of its folder."""
    found = [path for path in paths.runs().iterdir() if _ID.fullmatch(path.name)]
    found.sort(key=lambda path: path.stat().st_mtime)
    return [RunFolder(path.name) for path in found if path.is_dir()]


def all_queued() -> Tuple[Path, Path]:
    """The folders of the queue: of what waits, and of what has what it waited for."""
    return _shared("queued"), _shared("holding")


def active() -> List[str]:
    """Ids of the runs that run or wait right now. A cheap read, for the sampler at 1 Hz."""
    folder = _shared("active")
    known = {name: json_file.load(folder / name, Identity) for name in ids(folder)}
    return [name for name, supervisor in known.items() if processes.is_alive(supervisor)]


def settle_dead() -> List[str]:
    """Settle every run whose supervisor is gone, which also ends what it left running. For the
    watchdog, now and then. Their ids."""
    running = active()
    dead = sorted(set(ids(_shared("active"))) - set(running))
    for name in dead:
        RunFolder(name).settled()
        (_shared("active") / name).unlink(missing_ok=True)
    return dead


def ids(folder: Path) -> List[str]:
    """Those that a folder has a file of, sorted."""
    return sorted(name for name in os.listdir(folder) if _ID.fullmatch(name))


def _shared(name: str) -> Path:
    path = paths.root() / name
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def _tell_over(status: JobStatus) -> None:
    """Have the end of a run posted where this box was told to."""
    given = json_file.load(paths.root() / config.FILE, WatchdogConfig)
    if given is None:
        return
    try:
        notice = about.run(status, given.box, given.notify)
        outbox.put(paths.root(), given.notify, notice)
    except OSError as error:  # a full disk: the run's end counts more than the news of it
        print(f"no notice of it: {error}", file=sys.stderr, flush=True)

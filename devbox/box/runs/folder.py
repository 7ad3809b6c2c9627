"""The folder of one run on the box, runs/<id>/, and what its status is for certain.

request.json    what `job start` was given (0600)
status.json     the state; written by the run's supervisor alone while that lives
events.jsonl    {"seq", "t", "kind", ...} a line, for followers
items.jsonl     what became of each item; makes a retry resume
reported.jsonl  $DEVBOX_EVENTS: where the work reports its progress
log.txt …       what the work printed, bounded (devbox.box.runs.log)
cancel          exists once someone asked to stop
out/            the result

status.json, version 1: {"v", "id", "job", "state": running | succeeded | failed | cancelled,
"reason": "" | exit | items | timeout | cancelled | interrupted | error, "message", "attempt",
"attempts": [{"started", "ended"}], "started", "ended", "exit_code", "signal",
"counts": {"total", "done", "failed", "skipped"}, "progress": [done, total], "unit", "eta": s,
"stage", "timings": {stage: s}, "failures": [{"item", "error"}], "failures_dropped",
"peak": {"rss": bytes, "vram": bytes, "vram_source"}, "log_bytes", "log_dropped", "t",
"supervisor": identity}. Unknown values are null.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional

from devbox.box import paths, processes
from devbox.wire.codec import Unreadable, decode
from devbox.wire.messages import JobRequest

MAX_REQUEST = 8 << 20  # bytes
OVER = ("succeeded", "failed", "cancelled")
MARK = "DEVBOX_RUN_FOLDER"
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,79}")


class BadRequest(Exception):
    """The request cannot be carried out. kind: bad_request, conflict, not_found, missing."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class RunFolder:
    """runs/<id>. BadRequest when the id could name anything but a folder of ours."""

    def __init__(self, run_id: str) -> None:
        if not isinstance(run_id, str) or not _ID.fullmatch(run_id):
            raise BadRequest("bad_request", "a run id is lower-case letters, digits and '-'")
        self.id = run_id
        self.path = paths.runs() / run_id
        self.out = self.path / "out"
        self.events = self.path / "events.jsonl"
        self.items = self.path / "items.jsonl"
        self.reports = self.path / "reported.jsonl"
        self.cancel_mark = self.path / "cancel"

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

    def status(self) -> Optional[Dict[str, Any]]:
        """What status.json says, true or not; `settled` is the honest one."""
        return read_json(self.path / "status.json")

    def write_status(self, status: Dict[str, Any]) -> None:
        """Also keeps the run in, or takes it out of, the list of active ones."""
        active = _active_folder() / self.id
        if status["state"] in OVER:
            write_json(self.path / "status.json", status)
            active.unlink(missing_ok=True)
        else:
            if not active.exists():
                write_json(active, status["supervisor"])
            write_json(self.path / "status.json", status)

    def require(self) -> Dict[str, Any]:
        """The settled status. BadRequest when the box knows no such run."""
        found = self.settled()
        if found is None:
            raise BadRequest("not_found", f"this box has no run {self.id}")
        return found

    def settled(self) -> Optional[Dict[str, Any]]:
        """The status, after making sure that 'running' means that it runs.

        A supervisor that is gone without a last word (killed, out of memory, reboot) leaves a
        run that is failed, and perhaps processes that nobody watches: those are ended.
        """
        status = self.status()
        if status is None or status["state"] in OVER or processes.is_alive(status["supervisor"]):
            return status
        with self.lock():
            status = self.status()
            if (
                status is None
                or status["state"] in OVER
                or processes.is_alive(status["supervisor"])
            ):
                return status
            self.end_strays()
            rebooted = (status["supervisor"] or {}).get("boot") != processes.boot_id()
            how = "the box was restarted" if rebooted else "its supervisor was killed"
            last = status.get("t") or status.get("started")
            status.update(state="failed", reason="interrupted", ended=last, eta=None)
            status["message"] = f"interrupted: {how}; what is done is kept"
            if status.get("attempts"):
                status["attempts"][-1]["ended"] = last
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


def active() -> List[str]:
    """Ids of the runs that run right now. A cheap read, for the sampler at 1 Hz."""
    folder = _active_folder()
    return sorted(
        name
        for name in os.listdir(folder)
        if _ID.fullmatch(name) and processes.is_alive(read_json(folder / name))
    )


def settle_dead() -> List[str]:
    """Settle every run whose supervisor is gone, which also ends what it left running. For the
    watchdog, now and then. Their ids."""
    running = active()
    found = [name for name in os.listdir(_active_folder()) if _ID.fullmatch(name)]
    dead = sorted(set(found) - set(running))
    for name in dead:
        RunFolder(name).settled()
        (_active_folder() / name).unlink(missing_ok=True)
    return dead


def read_json(path: Path) -> Optional[Dict[str, Any]]:
    """A JSON object, or None when the file is missing or not one."""
    try:
        value = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def write_json(path: Path, value: Any) -> None:
    """Replace the file in one step; it is private (0600)."""
    handle, part = tempfile.mkstemp(prefix=f".{path.name}.", dir=str(path.parent))
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(json.dumps(value, separators=(",", ":"), allow_nan=False).encode())
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, path)
    except BaseException:
        os.unlink(part)
        raise


def _active_folder() -> Path:
    path = paths.root() / "active"
    path.mkdir(mode=0o700, exist_ok=True)
    return path

"""The queue of this box: a file for each run that waits in queued/, and in holding/ for each that
has what it waited for.

Each file names the supervisor that wrote it, by pid, start and boot, so that one that was killed,
or is from before a reboot, holds nothing. What such a run left running is ended before what it had
is given to another. Everything is decided and written under one lock, which the system drops when
a process dies.
"""

from __future__ import annotations

import fcntl
from contextlib import contextmanager
from pathlib import Path
from signal import SIGCONT
from typing import Dict, Iterator, List, Sequence, Tuple

from devbox.box import json_file, paths, processes
from devbox.box.runs.folder import BadRequest, RunFolder, all_queued, ids
from devbox.box.runs.order import Entry, in_order
from devbox.wire.codec import Unreadable
from devbox.wire.jobs import JobRequest

MOST_AFTER = 100  # runs that one run may wait for
_WOKEN = 4  # runs of the front of the line
Entries = Dict[str, Entry]


@contextmanager
def lock() -> Iterator[None]:
    """One at a time on this box. Nobody who holds it asks for the lock of a run's folder."""
    with open(paths.root() / "queue.lock", "ab") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def read() -> Tuple[Entries, Entries, List[str]]:
    """(those that wait, those that have it, whose supervisors are gone). One that was killed has
    it until it is buried: something that it left may run on."""
    waiting, holding = (_entries(where) for where in all_queued())
    gone = [
        name
        for name, entry in [*waiting.items(), *holding.items()]
        if not processes.is_alive(entry.supervisor)
    ]
    rest = {name: each for name, each in waiting.items() if name not in {*holding, *gone}}
    return rest, holding, gone


def bury(name: str) -> None:
    """End what a run left running whose supervisor is gone, and take it out of the queue."""
    folder = RunFolder(name)
    before = [json_file.load(path, Entry) for path in (folder.queued, folder.holding)]
    folder.settled()
    with lock():  # a further attempt may have written its own meanwhile
        for path, entry in zip((folder.queued, folder.holding), before):
            if json_file.load(path, Entry) == entry:
                path.unlink(missing_ok=True)


def enter(folder: RunFolder, entry: Entry) -> None:
    """It waits. OSError when the disk does not take it."""
    with lock():
        json_file.write(folder.queued, entry)


def begin(folder: RunFolder, entry: Entry) -> None:
    """It has what it waited for. Called under the lock."""
    json_file.write(folder.holding, entry)
    folder.queued.unlink(missing_ok=True)


def wake() -> None:
    """Have the next ones look at once, as a run has left. The signal does nothing to a process that
    does not wait for it."""
    waiting, _, _ = read()
    line = in_order(waiting)[:_WOKEN]
    processes.send((each.pid for each in (waiting[n].supervisor for n in line) if each), SIGCONT)


def require_after(request: JobRequest) -> None:
    """BadRequest when what it is to begin after is not here, or could not end before it. Called
    under the lock in which its request is written, so that no two runs come to wait for each
    other."""
    after = request.queue.after if request.queue else ()
    if len(after) > MOST_AFTER:
        raise BadRequest("bad_request", f"a run waits for at most {MOST_AFTER} runs")
    for name in after:
        status = RunFolder(name).status()
        if status is None:
            raise BadRequest("not_found", f"this box has no run {name}, to begin after")
        if status.service is not None:
            what = f"{name} is a service, which does not end by itself: nothing can begin after it"
            raise BadRequest("bad_request", what)
    if request.id in _behind(after):
        raise BadRequest("bad_request", f"run {request.id} would wait for itself")


def _behind(after: Sequence[str]) -> List[str]:
    """These runs, and all that they wait for."""
    found: List[str] = []
    open_ = list(after)
    while open_:
        name = open_.pop()
        if name in found:
            continue
        found.append(name)
        folder = RunFolder(name)
        try:
            request, status = folder.request(), folder.status()
        except (OSError, Unreadable):
            continue
        if status is None or not status.is_over or status.attempt < request.attempt:
            open_ += request.queue.after if request.queue else ()
    return found


def _entries(where: Path) -> Entries:
    """Of a file that cannot be read nobody knows what it had: it is nobody's."""
    return {name: json_file.load(where / name, Entry) or Entry(None) for name in ids(where)}

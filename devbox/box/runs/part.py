"""The work of a run that has rounds (`JobRequest.spread`): one after the other in this process, and
waited for while there is none.

A round is finished once its work has returned and its record is on the disk, after its results. A
process that was killed leaves a round that is begun: the next one works on it again, and its items
that are done stay done.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Callable, Iterable, Mapping, Optional

from devbox.box import paths
from devbox.box.items import Items, append
from devbox.box.job import Failed, Job
from devbox.box.kept import Kept
from devbox.box.runs.folder import RunFolder
from devbox.box.runs.rounds import Rounds, sync
from devbox.wire.jobs import ItemFailed, JobRequest, Round, RoundDone

_LOOK = 0.1  # seconds between two looks for a round
_ERROR = 200  # characters of an item's error in the record of its round
_WAITING = "waiting for a round"


class Part:
    """work: what is done for a round, in its folder. A `Failed` or other exception of it fails the
    items of the round that are not settled."""

    def __init__(
        self,
        folder: RunFolder,
        request: JobRequest,
        attempt: int,
        inputs: Mapping[str, Path],
        work: Callable[[Job, Kept, Path], None],
    ) -> None:
        assert request.spread is not None
        self._folder, self._request, self._work = folder, request, work
        self._inputs, self._input = dict(inputs), request.spread.input
        self._attempt = attempt
        self._rounds = Rounds(folder)
        self._kept = Kept(folder.path, attempt, paths.home(request.spread.names))

    def run(self) -> bool:
        """Until the last round is finished, or the run is cancelled. Whether no item failed."""
        signal.signal(signal.SIGTERM, lambda *_: self._kept.cancelled.set())
        self._folder.waiting_mark.unlink(missing_ok=True)
        try:
            while (found := self._next()) and self._finish(found):
                continue
        finally:
            self._kept.close()
        return not self._kept.items.has_failures

    def _next(self) -> Optional[Round]:
        """The next round; None when there is none any more, or the run is cancelled."""
        since: Optional[float] = None
        found: Optional[Round] = None
        while not self._kept.cancelled.is_set():
            found = self._rounds.begin()
            if found is not None or self._rounds.closed:
                break
            if since is None:
                since = time.monotonic()
                append(self._kept.reports, {"stage": _WAITING})
                with suppress(OSError):  # a full disk: the run counts as use meanwhile
                    self._folder.waiting_mark.touch()
            time.sleep(_LOOK)
        if since is not None:
            self._folder.waiting_mark.unlink(missing_ok=True)
            seconds = round(time.monotonic() - since, 6)
            append(self._kept.reports, {"stage": _WAITING, "seconds": seconds})
            append(self._kept.reports, {"stage": ""})
        return found

    def _finish(self, found: Round) -> bool:
        """Work on a round until it is finished. False when the run is cancelled."""
        items, begun = self._kept.items, time.monotonic()
        folder = self._rounds.folder(found.number)
        if not (folder / "out").exists():  # it begins: what an earlier round made does not count
            for name in filter(items.is_settled, found.pieces):
                items.again(name)
        self._kept.others = items.settled - sum(map(items.is_settled, found.pieces))
        self._kept.others += self._rounds.ahead
        job = Job(
            folder,
            args=self._request.args,
            inputs={**self._inputs, self._input: paths.home(found.input)},
            checkpoints={k: paths.home(path) for k, path in self._request.checkpoints.items()},
            patterns=self._request.patterns,
            id=self._folder.id,
            attempt=self._attempt,
            kept=self._kept,
        )
        error = self._tried(job, folder) if found.pieces else ""
        if job.cancelled:
            return False
        done = settle(items, found, job.announced, error)
        shutil.rmtree(folder / "scratch", ignore_errors=True)
        for path in (*_below(job.out), folder, folder.parent, self._folder.path):
            sync(path)
        if found.pieces:
            sync(items.path)
        self._rounds.finish(done._replace(seconds=round(time.monotonic() - begun, 3)))
        shutil.rmtree(folder / "in", ignore_errors=True)
        append(self._kept.reports, {"total": items.settled + self._rounds.ahead})
        return True

    def _tried(self, job: Job, folder: Path) -> str:
        """Do the work; why it failed as a whole, "" when it did not."""
        where = job.inputs[self._input]
        if not where.exists():
            return f"its input is not on the box any more: {where}"
        try:
            self._work(job, self._kept, folder)
        except Failed as error:
            job.log(str(error))
            return str(error)
        except SystemExit as error:
            return f"ended with exit code {error.code}" if error.code else ""
        except Exception as error:
            traceback.print_exc()
            return f"{type(error).__name__}: {error}"
        return ""


def settle(items: Items, found: Round, announced: Iterable[str], error: str) -> RoundDone:
    """Settle the items of a round that its work has left open. announced: those that it had.
    error: why it failed as a whole, "" when it ended well: then a piece is done of which it said
    nothing, where it has no items of other names."""
    names = dict.fromkeys(announced)
    told = set(names)
    if error or told <= set(found.pieces):
        names.update(dict.fromkeys(found.pieces))
    for name in names:
        if items.outcome(name):
            continue
        if error or name in told:
            items.settle(name, "failed", error=error or "it was never worked on")
        else:
            items.settle(name, "done")
    became = {name: items.outcome(name) for name in names}
    failed = [name for name in names if became[name] == "failed"]
    return RoundDone(
        found.number,
        0.0,
        sum(each == "done" for each in became.values()),
        tuple(ItemFailed(_word(name), items.error(name)[:_ERROR]) for name in failed),
        sum(each == "skipped" for each in became.values()),
    )


def _word(name: str) -> str:
    """A name as a message can hold it; that of a piece is one already."""
    return name.encode("utf-8", "replace").decode().replace("\0", "?")


def _below(folder: Path) -> Iterable[Path]:
    """Every file and folder, and the folder itself last. What a link leads to is left alone."""
    for where, _, files in os.walk(folder, topdown=False):
        for name in files:
            path = Path(where, name)
            if path.is_file() and not path.is_symlink():
                yield path
        yield Path(where)

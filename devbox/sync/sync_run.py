"""What a sync in either direction needs: rsync, its report, the stamp."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NoReturn

import msgspec

from devbox import spec
from devbox.errors import SyncError
from devbox.ignore import defaults, tree
from devbox.ignore.defaults import JUNK
from devbox.model import Box
from devbox.sync import baseline, rsync_process, target
from devbox.sync.progress import Amount, Item, Meter
from devbox.sync.rsync import Options, Report
from devbox.sync.target import Place
from devbox.workspace import Workspace

#: Files above this are not read to see whether two copies are equal after all.
_MAX_DIGEST = 256 << 20
_MAX_DIGESTS = 1000
#: A sync shorter than this shows no total, seconds.
_COUNT_AFTER = 0.5


class Session:
    """One sync under way."""

    def __init__(
        self, ws: Workspace, box: Box, where: Place, options: Options, direction: str
    ) -> None:
        self.ws, self.box, self.where, self.options = ws, box, where, options
        self.begun = options.clock()
        self.start = time.time_ns()
        self.stamp = baseline.load(box, where.root)
        self.chosen = target.inside(where, options.paths)
        self.report = Report(
            direction, box.name, str(where.root), where.folder, dry_run=options.dry_run
        )

    def finish(self, **fields: object) -> Report:
        seconds = self.options.clock() - self.begun
        return msgspec.structs.replace(self.report, seconds=round(seconds, 3), **fields)

    def transfer(
        self,
        job: rsync_process.Job,
        total: Callable[[], int | None],
        *,
        partly: bool = False,
        backoff: Sequence[float] = rsync_process.BACKOFF,
    ) -> rsync_process.Outcome:
        """Run rsync and say how it stands. SyncError when files could not be read or written;
        with `partly` the caller looks at code 23 itself."""
        meter = Meter(self.options.clock, total)
        tell = self.options.on_progress

        def on_output(found: Item | Amount | None) -> None:
            if found is None:
                meter.cut()
            elif isinstance(found, Item):
                self.moving()
                meter.item(found)
            else:
                meter.amount(found)
            if tell:
                tell(meter.progress())

        done = rsync_process.run(
            job,
            sleep=self.ws.sleep,
            narrate=self.ws.narrate,
            on_output=on_output,
            backoff=backoff,
        )
        if done.code == 23 and not partly:
            self.incomplete(done)
        return done

    def incomplete(self, done: rsync_process.Outcome) -> NoReturn:
        """SyncError that names the files that rsync could not do."""
        raise SyncError(
            f"some files could not be synced with {self.box.name}: {done.said[-600:]}",
            means="the other files that were to be synced are in step",
            fix="make them readable, or leave them out with sync.exclude in devbox.toml",
        )

    def moving(self) -> None:
        """Called for each file that rsync moves."""

    def differing(self, paths: Iterable[bytes]) -> set[bytes]:
        """Those whose contents are not the same on both sides. Large files count as different."""
        wanted = sorted(paths)
        small = [p for p in wanted if 0 <= self._size(p) <= _MAX_DIGEST][:_MAX_DIGESTS]
        if not small:
            return set(wanted)
        from devbox.box.files.named import content
        from devbox.sync import remote

        theirs = remote.digests(self.box, self.where.folder, small)
        top = os.fsencode(self.where.root)
        return set(wanted) - {p for p in theirs if theirs[p] == content(os.path.join(top, p))}

    def _size(self, path: bytes) -> int:
        full = os.path.join(os.fsencode(self.where.root), path)
        return os.path.getsize(full) if os.path.isfile(full) else -1

    def remember(self, left: Iterable[bytes], moved: Iterable[bytes], box_time: int) -> None:
        """Keep the stamp of a sync that went through; one of chosen paths only adds to it."""
        now = tree.stat_paths(self.where.root, moved)
        new = self.stamp.remembering({p: e for p, e in now.items() if e.kind == "f"})
        if not self.chosen:
            new = msgspec.structs.replace(
                new,
                root=str(self.where.root),
                start=self.start,
                end=time.time_ns(),
                box_time=box_time,
                edited=baseline.names(left),
            )
        baseline.save(self.box, new)


class Pending:
    """How many bytes there are to send, counted beside rsync: the files that changed since the
    last sync, as far as times tell. Begins after a while, so that a short sync pays nothing."""

    def __init__(self, where: Place, since: baseline.Stamp, *, wanted: bool) -> None:
        self.where, self.since, self.wanted = where, since, wanted
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._count, daemon=True)
        self.found: int | None = None

    def __enter__(self) -> Pending:
        if self.wanted:
            self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()

    def total(self) -> int | None:
        return self.found

    def _count(self) -> None:
        if self.done.wait(_COUNT_AFTER):
            return
        files = tree.read(self.where.root, self.where.sync, files=True).files
        self.found = sum(
            entry.size
            for path, entry in files.items()
            if self.since.is_first or self.since.changed_here(path, entry)
        )


def excludes(sync: spec.Sync) -> list[str]:
    """Plain names for the box's own list of what is unsynced."""
    patterns = [*defaults.OURS, *JUNK, *sync.exclude]
    names = [pattern.rstrip("/") for pattern in patterns]
    wanted = {pattern.rstrip("/") for pattern in sync.include}
    return [n for n in names if n and "/" not in n and not n.startswith("!") and n not in wanted]

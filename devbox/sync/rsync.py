"""`sync up` and `sync down`: real rsync in both directions, with nobody's work overwritten.

Up is one rsync run with --update: a file that is newer on the box stays and is reported. Down
asks the box for its list first, then fetches exactly what it decided on: a file that was changed
here since the last sync stays and is reported. Neither deletes anything unless asked, and then
exactly the files that were shown, however the trees change meanwhile.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import msgspec

from devbox import process
from devbox.errors import SyncError, UsageError
from devbox.model import Box
from devbox.sync import compare, flavour, place, program, remote, removal, stamp, tree
from devbox.sync.place import Place
from devbox.sync.progress import Amount, Item, Meter, Progress
from devbox.sync.report import Report, kept, shown
from devbox.sync.rules import Rules, selection
from devbox.sync.stamp import Stamp
from devbox.sync.tree import Entry
from devbox.workspace import Workspace

#: Files above this are not read to see whether two copies are equal after all.
_MAX_DIGEST = 256 << 20
_MAX_DIGESTS = 1000


class Options(NamedTuple):
    """paths: only these, relative to the current folder. dry_run: change nothing, say what would
    be. delete: also remove on the receiving side what the other does not have; `approve` gets
    the list first and says yes or no. force: the sending side wins every difference."""

    paths: tuple[str, ...] = ()
    dry_run: bool = False
    delete: bool = False
    approve: Callable[[tuple[str, ...]], bool] = lambda _: False
    force: bool = False
    on_progress: Callable[[Progress], None] | None = None
    clock: Callable[[], float] = time.monotonic


def up(ws: Workspace, box: Box, options: Options = Options()) -> Report:
    """Send what changed here. Raises SyncError, SshError, Conflict (another sync up runs),
    UsageError; after any of them, and after Ctrl-C, every file on the box is whole."""
    where = place.find(ws, box)
    with place.locked(box, "up"):
        return _Up(ws, box, where, options).run()


def down(ws: Workspace, box: Box, options: Options = Options()) -> Report:
    """Fetch what changed on the box. Raises as `up`."""
    where = place.find(ws, box)
    with place.locked(box, "down"):
        return _Down(ws, box, where, options).run()


class _Sync:
    def __init__(self, ws: Workspace, box: Box, where: Place, options: Options) -> None:
        self.ws, self.box, self.where, self.options = ws, box, where, options
        self.begun = options.clock()
        self.start = time.time_ns()
        self.stamp = stamp.load(box, where.root)
        self.chosen = place.inside(where, options.paths)
        self.report = Report(
            "", box.name, str(where.root), where.folder, dry_run=options.dry_run
        )

    def finish(self, **fields: object) -> Report:
        seconds = self.options.clock() - self.begun
        return msgspec.structs.replace(self.report, seconds=round(seconds, 3), **fields)

    def transfer(self, job: program.Job, total: Callable[[], int | None]) -> program.Outcome:
        """Run rsync and say how it stands. SyncError when files could not be read or written."""
        meter = Meter(self.options.clock, total)
        tell = self.options.on_progress

        def on_output(found: Item | Amount | None) -> None:
            if found is None:
                meter.cut()
            elif isinstance(found, Item):
                meter.item(found)
            else:
                meter.amount(found)
            if tell:
                tell(meter.progress())

        done = program.run(job, sleep=self.ws.sleep, narrate=self.ws.narrate, on_output=on_output)
        if done.code == 23:
            raise SyncError(
                f"some files could not be synced with {self.box.name}: {done.said[-600:]}",
                means="everything else is in step",
                fix="make them readable, or leave them out with sync.exclude in devbox.toml",
            )
        return done

    def differing(self, paths: Iterable[bytes]) -> set[bytes]:
        """Those whose contents are not the same on both sides. Large files count as different."""
        wanted = sorted(paths)
        small = [p for p in wanted if 0 <= self._size(p) <= _MAX_DIGEST][:_MAX_DIGESTS]
        if not small:
            return set(wanted)
        theirs = remote.digests(self.box, self.where.folder, small)
        return {p for p in wanted if p not in theirs or theirs[p] != self._digest(p)}

    def _size(self, path: bytes) -> int:
        full = os.path.join(os.fsencode(self.where.root), path)
        return os.path.getsize(full) if os.path.isfile(full) else -1

    def _digest(self, path: bytes) -> str:
        full = os.path.join(os.fsencode(self.where.root), path)
        found = hashlib.blake2b(digest_size=16)
        try:
            with open(full, "rb") as stream:
                for block in iter(lambda: stream.read(1 << 20), b""):
                    found.update(block)
        except OSError:
            return ""
        return found.hexdigest()

    def remember(self, left: Iterable[bytes], moved: Iterable[bytes], box_time: int) -> None:
        """Keep the stamp of a sync that went through; one of chosen paths only adds to it."""
        now = tree.look(self.where.root, moved)
        new = self.stamp.remembering({p: e for p, e in now.items() if e.kind == "f"})
        if not self.chosen:
            new = msgspec.structs.replace(
                new,
                root=str(self.where.root),
                start=self.start,
                end=time.time_ns(),
                box_time=box_time,
                edited=stamp.names(left),
            )
        stamp.save(self.box, new)

    def excludes(self) -> list[str]:
        """Plain names for the box's own list of what is unsynced."""
        return [p.rstrip("/") for p in self.where.sync.exclude if "/" not in p.rstrip("/!")]


class _Up(_Sync):
    def run(self) -> Report:
        found = tree.read(self.where.root, self.where.sync)
        self.report = msgspec.structs.replace(
            self.report, direction="up", secrets=shown(found.secrets)
        )
        self._check_chosen(found.rules)
        kind = flavour.detect(process.require("rsync"))
        planned: compare.Differences | None = None
        if self.options.dry_run or self.options.delete or not kind.informs:
            planned, here, there = self._plan(found.rules)
            newer = {
                p for p in planned.differing if not self.options.force and _newer(there, here, p)
            }
            going = sorted({*planned.only_here, *planned.differing} - newer)
            if self.options.dry_run:
                doomed = planned.only_there if self.options.delete else []
                return self.finish(
                    moved=shown(going),
                    bytes=sum(here[p].size for p in going),
                    deleted=shown(doomed),
                    kept=kept(dict.fromkeys(newer, compare.NEWER_THERE)),
                )
        deleted = self._delete(planned.only_there) if planned and self.options.delete else []
        done = self._send(found.rules)
        left = self.differing(done.newer if kind.informs else newer)
        moved = list(done.items)
        self._stamp(left, moved)
        return self.finish(
            moved=shown(moved),
            bytes=sum(item.size for item in done.items.values()),
            deleted=shown(deleted),
            kept=kept(dict.fromkeys(left, compare.NEWER_THERE)),
            retries=done.tries - 1,
        )

    def _check_chosen(self, rules: Rules) -> None:
        for path in self.chosen:
            full = os.path.join(os.fsencode(self.where.root), path)
            name = shown([path])[0]
            if not os.path.lexists(full):
                raise UsageError(f"there is no {name!r} to send")
            folder = os.path.isdir(full) and not os.path.islink(full)
            if path != b"." and not rules.keeps(path, folder=folder):
                raise UsageError(
                    f"{name!r} is left out of syncs",
                    fix=f'to send it: [boxes.{self.box.name}.sync] include = ["{name}"]',
                )

    def _plan(self, rules: Rules) -> tuple[compare.Differences, compare.Files, compare.Files]:
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(remote.list_files, self.box, self.where.folder, rules)
            here: Mapping[bytes, Entry] = tree.read(
                self.where.root, self.where.sync, files=True
            ).files
            there = asked.result().files
        here = {p: here[p] for p in compare.within(here, self.chosen)}
        there = {p: there[p] for p in compare.within(there, self.chosen)}
        return compare.differences(here, there), here, there

    def _delete(self, doomed: Sequence[bytes]) -> list[bytes]:
        if not doomed or not self.options.approve(shown(doomed)):
            return []
        return sorted(remote.delete(self.box, self.where.folder, doomed))

    def _send(self, rules: Rules) -> program.Outcome:
        extra = () if self.options.force else ("--update",)
        job = program.Job(self.box, self.where.root, self.where.folder, True, rules.filters())
        if self.chosen:
            return self.transfer(
                job._replace(files=self.chosen, inside=True, extra=extra), lambda: None
            )
        again = self.stamp.saved_again(self.where.root)
        again = [path for path in again if rules.keeps(path, folder=False)]
        with _Pending(self.where, self.stamp, wanted=bool(self.options.on_progress)) as pending:
            done = self.transfer(job._replace(extra=extra), pending.total)
            if again:
                more = job._replace(files=again, extra=("--ignore-times", *extra))
                second = self.transfer(more, pending.total)
                done = done._replace(items=done.items | second.items, newer=done.newer | second.newer)
        return done

    def _stamp(self, left: Iterable[bytes], moved: Sequence[bytes]) -> None:
        first = self.stamp.is_first
        box_time = self.stamp.box_time
        if first or moved:
            entries = tree.look(self.where.root, moved)
            pushed = [(path, entry.mtime) for path, entry in entries.items()]
            seen = remote.stamp(self.box, None, pushed, self.excludes())
            box_time = box_time or seen
        self.remember(left, moved, box_time)
        if first and not self.chosen:
            stamp.save(self.box, stamp.load(self.box, self.where.root).recent(self.start))


class _Down(_Sync):
    def run(self) -> Report:
        self.report = msgspec.structs.replace(self.report, direction="down")
        self.where.root.mkdir(parents=True, exist_ok=True)
        found = tree.read(self.where.root, self.where.sync, files=self.options.delete)
        chosen = self.where.sync.down
        listing = remote.list_files(
            self.box, self.where.folder, found.plain if chosen else found.rules
        )
        if listing.missing:
            return self.finish(missing=True)
        picked = selection(chosen)
        names = compare.within(listing.files, self.chosen)
        there = {
            p: listing.files[p] for p in names if not chosen or not picked.keeps(p, folder=False)
        }
        here = tree.look(self.where.root, there)
        plan = compare.fetch(here, there, self.stamp, force=self.options.force)
        keep = self._really(plan.keep, here, there)
        doomed: list[bytes] = []
        if self.options.delete:
            doomed = sorted(set(compare.within(found.files, self.chosen)) - set(listing.files))
        size = sum(there[p].size for p in plan.take)
        if self.options.dry_run:
            return self.finish(
                moved=shown(plan.take), bytes=size, deleted=shown(doomed), kept=kept(keep)
            )
        deleted = []
        if doomed and self.options.approve(shown(doomed)):
            deleted = removal.remove(self.where.root, doomed)
        items, retries = self._take(plan.take, there, keep, size)
        self._stamp(keep, items, listing.now)
        return self.finish(
            moved=shown(items),
            bytes=sum(there[p].size for p in items if p in there),
            deleted=shown(deleted),
            kept=kept(keep),
            retries=retries,
        )

    def _really(
        self, keep: Mapping[bytes, str], here: compare.Files, there: compare.Files
    ) -> dict[bytes, str]:
        """Without those that only have another time."""
        alike = [
            path
            for path in keep
            if path in here and here[path].kind == there[path].kind == "f"
            and here[path].size == there[path].size
        ]  # fmt: skip
        equal = set(alike) - self.differing(alike)
        return {path: why for path, why in keep.items() if path not in equal}

    def _take(
        self, take: Sequence[bytes], there: compare.Files, keep: dict[bytes, str], size: int
    ) -> tuple[list[bytes], int]:
        if not take:
            return [], 0
        # --update once more: a file may be saved here between the list and the transfer. And one
        # may be gone from the box by then; what a job cleans up is no reason to fail.
        informs = flavour.detect(process.require("rsync")).informs
        extra = ("--ignore-missing-args",) if informs else ()
        extra += () if self.options.force else ("--update",)
        job = program.Job(self.box, self.where.root, self.where.folder, False, files=take)
        done = self.transfer(job._replace(extra=extra), lambda: size)
        wanted = set(take)
        keep.update((path, compare.NEWER_HERE) for path in done.newer & wanted)
        here = tree.look(self.where.root, take)
        arrived = [p for p in take if p in here and compare.same(here[p], there[p])]
        return sorted({*arrived, *(done.items.keys() & wanted)}), done.tries - 1

    def _stamp(self, keep: Mapping[bytes, str], items: Sequence[bytes], now: int) -> None:
        whole = not self.chosen and compare.BOTH not in keep.values()
        self.remember(keep, items, now if whole else self.stamp.box_time)
        if whole:
            remote.stamp(self.box, now / 1e9, [], self.excludes())
            stamp.save(self.box, stamp.load(self.box, self.where.root).recent(self.start))


class _Pending:
    """How many bytes there are to send, counted while rsync already runs: the files that changed
    since the last sync, as far as times tell."""

    def __init__(self, where: Place, since: Stamp, *, wanted: bool) -> None:
        self.where, self.since, self.wanted = where, since, wanted
        self.pool = ThreadPoolExecutor(1)
        self.found: int | None = None

    def __enter__(self) -> _Pending:
        if self.wanted:
            self.pool.submit(self._count)
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.shutdown(wait=True, cancel_futures=True)

    def total(self) -> int | None:
        return self.found

    def _count(self) -> None:
        files = tree.read(self.where.root, self.where.sync, files=True).files
        self.found = sum(
            entry.size
            for path, entry in files.items()
            if self.since.is_first or self.since.changed_here(path, entry)
        )


def _newer(one: compare.Files, other: compare.Files, path: bytes) -> bool:
    return one[path].mtime // 10**9 > other[path].mtime // 10**9


__all__ = ["Options", "Path", "Progress", "Report", "down", "up"]

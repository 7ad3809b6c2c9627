"""`sync down`: the box's list first, then exactly what was decided on."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

from devbox import process
from devbox.box.files.named import remove
from devbox.ignore import rules, tree
from devbox.ignore.tree import Tree
from devbox.model import Box
from devbox.sync import baseline, compare, held, remote, rsync_dialect, rsync_process
from devbox.sync.rsync import Options, Report, kept, shown
from devbox.sync.sync_run import Session, excludes
from devbox.sync.target import Place
from devbox.workspace import Workspace


class Pull(Session):
    """Fetches what changed on the box; see `rsync.down`."""

    def __init__(self, ws: Workspace, box: Box, where: Place, options: Options) -> None:
        super().__init__(ws, box, where, options, "down")

    def run(self) -> Report:
        self.where.root.mkdir(parents=True, exist_ok=True)
        found = tree.read(self.where.root, self.where.sync, files=self.options.delete)
        listing = self._listing(found)
        if listing.about.missing:
            return self.finish(missing=True)
        picked = self._picked(found)
        names = compare.within(listing.files, self.chosen)
        there = {path: listing.files[path] for path in names if picked(path)}
        here = tree.stat_paths(self.where.root, there)
        back = held.held_back(there, chosen=self.chosen, patterns=self.patterns())
        plan = compare.fetch(
            here,
            there,
            self.stamp,
            force=self.options.force,
            named=bool(self.chosen),
            held=back,
        )
        keep = self.really(plan.keep, here, there)
        doomed: list[bytes] = []
        if self.options.delete:
            doomed = sorted(set(compare.within(found.files, self.chosen)) - set(listing.files))
        size = sum(there[p].size for p in plan.take)
        if self.options.dry_run:
            return self.finish(
                moved=shown(plan.take), bytes=size, deleted=shown(doomed), kept=kept(keep)
            )
        deleted: list[bytes] = []
        if doomed and self.options.approve(shown(doomed)):
            deleted, _ = remove(os.fsencode(self.where.root), doomed)
        items, retries = self._take(plan.take, there, keep, size)
        self._stamp(keep, items, listing.about.now)
        return self.finish(
            moved=shown(items),
            bytes=sum(there[p].size for p in items if p in there),
            deleted=shown(deleted),
            kept=kept(keep),
            retries=retries,
        )

    def patterns(self) -> tuple[str, ...]:
        """Those of the spec that can name a file."""
        return (*self.where.sync.include, *self.where.sync.down)

    def _listing(self, found: Tree) -> remote.Listing:
        wanted = found.plain if self.where.sync.down else found.rules
        if self.options.ignored:
            wanted = rules.whole(self.where.sync)
        return remote.list_files(self.box, self.where.folder, wanted)

    def _picked(self, found: Tree) -> Callable[[bytes], bool]:
        """Whether a path of the listing is asked for."""
        down = self.where.sync.down
        if not down:
            return lambda _: True
        picked = rules.selection(down)
        if not self.options.ignored:
            return lambda path: not picked.keeps(path, folder=False)
        # All that is ignored, and of the rest what `down` names.
        return lambda path: (
            not picked.keeps(path, folder=False) or not found.rules.keeps(path, folder=False)
        )

    def really(
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
        informs = rsync_dialect.detect(process.require("rsync")).informs
        extra: tuple[str, ...] = ("--ignore-missing-args",) if informs else ()
        extra += () if self.options.force else ("--update",)
        where = self.where
        job = rsync_process.Job(
            self.box, where.root, where.folder, False, files=take, arriving=True
        )
        done = self.transfer(job._replace(extra=extra), lambda: size)
        wanted = set(take)
        keep.update((path, compare.NEWER_HERE) for path in done.newer & wanted)
        here = tree.stat_paths(self.where.root, take)
        arrived = [p for p in take if p in here and compare.same(here[p], there[p])]
        return sorted({*arrived, *(done.items.keys() & wanted)}), done.tries - 1

    def _stamp(self, keep: Mapping[bytes, str], items: Sequence[bytes], now: int) -> None:
        whole = not self.chosen and compare.BOTH not in keep.values()
        self.remember(keep, items, now if whole else self.stamp.box_time)
        if whole:
            remote.stamp(self.box, self.where.folder, now / 1e9, {}, excludes(self.where.sync))
            baseline.save(self.box, baseline.load(self.box, self.where.root).recent(self.start))

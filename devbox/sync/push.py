"""`sync up`: one rsync run towards the box."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from devbox import process
from devbox.errors import SshError, SyncError, UsageError
from devbox.ignore import tree
from devbox.ignore.defaults import REPLACED
from devbox.ignore.rules import Rules, without
from devbox.ignore.tree import Entry
from devbox.model import Box
from devbox.sync import baseline, compare, new_disk, obstacles, rsync_dialect, rsync_process
from devbox.sync.progress import Item
from devbox.sync.rsync import Options, Report, kept, shown
from devbox.sync.sync_run import Pending, Session, excludes
from devbox.sync.target import Place
from devbox.workspace import Workspace

if TYPE_CHECKING:
    from devbox.sync.remote import Asking, Listing

_SHOWN = 5  # names in a line


class Sent(NamedTuple):
    """items: what went up. left: differing files that changed on the box and stay as they are.
    Paths that cannot go up because of what lies there are in `Push.blocked`."""

    items: dict[bytes, Item]
    left: set[bytes]
    tries: int


class Push(Session):
    """Sends what the rules keep; see `rsync.up`."""

    def __init__(self, ws: Workspace, box: Box, where: Place, options: Options) -> None:
        super().__init__(ws, box, where, options, "up")
        self.early: Asking | None = None
        self.tells = False
        #: what came with the image of a disk that was never synced
        self.image: Listing | None = None
        #: paths that are a folder on one side and a file or link on the other
        self.blocked: set[bytes] = set()
        #: files of the box that made way, after a yes
        self.cleared: list[bytes] = []

    def moving(self) -> None:
        # The box is told in the end what came; what tells it starts there while files move.
        if self.early is None and self.tells:
            from devbox.sync.remote import Asking

            self.early = Asking(self.box, "stamp")

    def run(self) -> Report:
        self.image = new_disk.look(self.box, self.where)
        asking = None if self.options.force else self._asking()
        try:
            found = tree.read(self.where.root, self.where.sync)
            self.report = msgspec.structs.replace(self.report, secrets=shown(found.secrets))
            self._check_chosen(found.rules)
            self._block(self._touched([*found.folders, *found.links]), set(found.links), asking)
        finally:
            if asking:
                asking.close()
        rules = without(found.rules, self.blocked)
        newer: set[bytes] | None = None
        deleted: list[bytes] = []
        if self.options.dry_run or self.options.delete or not self._informs():
            planned, here, there = self._plan(rules)
            newer = {p for p in planned.differing if _newer(there, here, p)}
            if self.options.dry_run:
                return self._foretell(planned, here, there, newer)
            deleted = self._delete(planned.only_there) if self.options.delete else []
        self.tells = True
        try:
            sent = self._settle(rules, self._around(rules, self._send), newer)
            self._stamp(sent.left, list(sent.items))
        finally:
            if self.early:
                self.early.close()
        return self.finish(
            moved=shown(sent.items),
            bytes=sum(item.size for item in sent.items.values() if item.moved),
            deleted=shown([*deleted, *self.cleared]),
            kept=kept(self._kept(sent.left)),
            retries=sent.tries - 1,
        )

    def edits(self, rules: Rules, paths: Sequence[bytes]) -> Sent:
        """Send just these, whatever their times say, with what is in those that are folders.
        The box's half of the stamp is the caller's to write."""
        top = os.fsencode(self.where.root)
        links = {path for path in paths if os.path.islink(os.path.join(top, path))}
        parents = {folder for path in paths for folder in compare.above(path)}
        inner = {path for path in paths if os.path.isdir(os.path.join(top, path))}
        self.chosen = list(paths)
        self._block({*parents, *links, *inner}, links)
        if not self._targets():
            return Sent({}, set(), 1)
        # --ignore-times: two saves of one size within a second look alike to rsync.
        extra = ("--ignore-times", "--update", *self._passing())

        def send(rules: Rules) -> rsync_process.Outcome:
            return self._send_chosen(rules, extra, backoff=(0.2,))

        done = self._around(without(rules, self.blocked), send)
        sent = self._settle(rules, done, None if self._informs() else set(self._targets()))
        self.remember(sent.left, sent.items, self.stamp.box_time)
        return sent

    def _asking(self) -> Asking:
        from devbox.sync.remote import Asking

        return Asking(self.box, "look")

    def _touched(self, paths: Sequence[bytes]) -> list[bytes]:
        """Those of `paths` that were chosen, lie in a chosen folder, or hold a chosen path."""
        parents = {folder for path in self.chosen for folder in compare.above(path)}
        return [*compare.within(paths, self.chosen), *parents.intersection(paths)]

    def _targets(self) -> list[bytes]:
        """The chosen paths that can go up. None left is not the same as none chosen."""
        return [path for path in self.chosen if not self._is_blocked(path)]

    def _block(
        self, paths: Collection[bytes], links: set[bytes], asking: Asking | None = None
    ) -> None:
        if paths and not self.options.force:
            self.blocked |= obstacles.replaced(
                self.box,
                self.where,
                self.stamp,
                paths,
                links,
                asking,
                narrate=self.ws.narrate,
                sleep=self.ws.sleep,
            )

    def _is_blocked(self, path: bytes) -> bool:
        return bool(self.blocked.intersection([path, *compare.above(path)]))

    def _around(
        self, rules: Rules, send: Callable[[Rules], rsync_process.Outcome]
    ) -> rsync_process.Outcome:
        """`send`, and where folders of the box stand in the way of files or links once more:
        around them, or with `force` after what is in them was shown and deleted."""
        done = send(rules)
        if done.code != 23:
            return done
        stuck = obstacles.stuck(self.box, self.where, rules, self.chosen)
        if not stuck:
            self.incomplete(done)
        if not (self.options.force and self._clear(stuck)):
            self.blocked |= stuck.keys()
        again = send(without(rules, self.blocked))
        if again.code == 23:
            self.incomplete(again)
        return done._replace(code=0).plus(again)

    def _clear(self, stuck: Mapping[bytes, Sequence[bytes]]) -> bool:
        for name in shown(sorted(stuck)):
            self.ws.narrate(
                f"{name} is a file or link here and a folder on {self.box.name}; "
                "to replace the folder, its files must be deleted"
            )
        inside = sorted(path for paths in stuck.values() for path in paths)
        self.cleared = self._delete(inside, stuck)
        return bool(self.cleared)

    def _passing(self) -> tuple[str, ...]:
        """The flag for files that are gone before rsync reads them, such as an editor's own."""
        return ("--ignore-missing-args",) if self._informs() else ()

    def _informs(self) -> bool:
        return rsync_dialect.detect(process.require("rsync")).informs

    def _job(self, rules: Rules) -> rsync_process.Job:
        where = self.where
        return rsync_process.Job(
            self.box, where.root, where.folder, True, rules.filters(), arriving=True
        )

    def _foretell(
        self,
        planned: compare.Differences,
        here: compare.Files,
        there: compare.Files,
        newer: set[bytes],
    ) -> Report:
        left = {p for p in newer if self.stamp.changed_there(p, there[p])}
        left = set() if self.options.force or self.image else self.differing(left)
        going = sorted({*planned.only_here, *planned.differing} - left)
        return self.finish(
            moved=shown(going),
            bytes=sum(here[p].size for p in going),
            deleted=shown(planned.only_there if self.options.delete else []),
            kept=kept(self._kept(left)),
        )

    def _kept(self, left: Iterable[bytes]) -> dict[bytes, str]:
        blocked = dict.fromkeys(self.blocked, compare.IN_THE_WAY)
        return {**dict.fromkeys(left, compare.NEWER_THERE), **blocked}

    def _settle(self, rules: Rules, done: rsync_process.Outcome, newer: set[bytes] | None) -> Sent:
        """rsync left alone what is newer on the box. Where the box's is just what we sent or saw
        before, the older one here is what is wanted (a restored backup, a checkout): send it."""
        newer = done.newer if newer is None else newer - done.items.keys()
        if self.options.force or not newer:
            return Sent(done.items, set(), done.tries)
        if self.image:
            return self._replace(done, {path for path in newer if not self._is_blocked(path)})
        from devbox.sync import remote

        there = remote.list_files(self.box, self.where.folder, rules).files
        ours = [
            path
            for path in sorted(newer)
            if not self._is_blocked(path)
            and (path not in there or not self.stamp.changed_there(path, there[path]))
        ]
        left = self.differing(newer.difference(ours))
        if not ours:
            return Sent(done.items, left, done.tries)
        job = self._job(rules)._replace(files=ours, extra=self._passing())
        more = self.transfer(job, lambda: None)
        return Sent(done.items | more.items, left, done.tries + more.tries - 1)

    def _replace(self, done: rsync_process.Outcome, paths: set[bytes]) -> Sent:
        """Send what the image has with newer times; where its contents differ, they are kept."""
        differing = self.differing(paths)
        backup = ("--backup", f"--backup-dir={REPLACED}")
        for files, extra in ((differing, backup), (paths - differing, ())):
            if files:
                job = self._job(rules=Rules([]))._replace(files=sorted(files))
                more = self.transfer(job._replace(extra=(*extra, *self._passing())), lambda: None)
                done = done._replace(
                    items=done.items | more.items, tries=done.tries + more.tries - 1
                )
        if differing:
            names = ", ".join(shown(sorted(differing))[:_SHOWN])
            more_names = f" and {len(differing) - _SHOWN} more" * (len(differing) > _SHOWN)
            self.ws.narrate(
                f"{self.box.name}: differed in its image, and is as it is here now: "
                f"{names}{more_names} (the image's: {self.where.folder}/{REPLACED})"
            )
        return Sent(done.items, set(), done.tries)

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
        from concurrent.futures import ThreadPoolExecutor

        from devbox.sync import remote

        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(remote.list_files, self.box, self.where.folder, rules)
            here: Mapping[bytes, Entry] = tree.read(
                self.where.root, self.where.sync, files=True
            ).files
            there = asked.result().files
        there = {p: there[p] for p in compare.within(there, self.chosen)}
        if not (self.options.delete or self.options.force):
            parents = {folder for path in there for folder in compare.above(path)}
            self.blocked |= here.keys() & parents
        mine = compare.within(here, self.chosen)
        here = {path: here[path] for path in mine if not self._is_blocked(path)}
        return compare.differences(here, there), here, there

    def _delete(self, doomed: Sequence[bytes], folders: Iterable[bytes] = ()) -> list[bytes]:
        if not doomed or not self.options.approve(shown(doomed)):
            return []
        from devbox.sync import remote

        return sorted(remote.delete(self.box, self.where.folder, doomed, folders))

    def _send(self, rules: Rules) -> rsync_process.Outcome:
        extra: tuple[str, ...] = () if self.options.force else ("--update",)
        if self.chosen:
            return self._send_chosen(rules, extra)
        job = self._job(rules)
        again = self.stamp.saved_again(self.where.root)
        again = [path for path in again if rules.keeps(path, folder=False)]
        with Pending(self.where, self.stamp, wanted=bool(self.options.on_progress)) as pending:
            done = self.transfer(job._replace(extra=extra), pending.total, partly=True)
            if again:
                more = job._replace(files=again, extra=("--ignore-times", *extra))
                done = done.plus(self.transfer(more, pending.total, partly=True))
        return done

    def _send_chosen(
        self, rules: Rules, extra: tuple[str, ...], backoff: Sequence[float] = rsync_process.BACKOFF
    ) -> rsync_process.Outcome:
        targets = self._targets()
        if not targets:
            return rsync_process.Outcome({}, set(), 0, "", 1)
        job = self._job(rules)._replace(files=targets, inside=True, extra=extra)
        return self.transfer(job, lambda: None, partly=True, backoff=backoff)

    def _stamp(self, left: Iterable[bytes], moved: Sequence[bytes]) -> None:
        first = self.stamp.is_first
        box_time = self.stamp.box_time
        if self.image and not self.chosen:
            self.stamp = self.stamp.of_image(self.image.files)
            box_time = self.image.about.now
            self._tell(moved)
        elif first or moved:
            seen = self._tell(moved)
            box_time = box_time or seen
        self.remember(left, moved, box_time)
        if first and not self.chosen and box_time:
            baseline.save(self.box, baseline.load(self.box, self.where.root).recent(self.start))

    def _tell(self, moved: Sequence[bytes]) -> int:
        if self.early:
            try:
                return tell(self.box, self.where, moved, self.early, since=self._since())
            except (SshError, SyncError):
                self.early = None  # it was cut with a connection that rsync has outlived
        return tell(self.box, self.where, moved, since=self._since())

    def _since(self) -> float | None:
        whole = self.image and not self.chosen
        return self.image.about.now / 1e9 if self.image and whole else None


def tell(
    box: Box,
    where: Place,
    moved: Iterable[bytes],
    asking: Asking | None = None,
    *,
    since: float | None = None,
) -> int:
    """Write the box's half of the stamp: these files are as they are here. since: as of
    `remote.stamp`."""
    from devbox.sync import remote

    entries = tree.stat_paths(where.root, moved)
    pushed = {path: entry.mtime for path, entry in entries.items() if entry.kind == "f"}
    return remote.stamp(box, where.folder, since, pushed, excludes(where.sync), asking)


def _newer(one: compare.Files, other: compare.Files, path: bytes) -> bool:
    return one[path].mtime // 10**9 > other[path].mtime // 10**9

"""`sync status`: what the box has that you don't, and the other way round. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import msgspec

from devbox.ignore import rules, tree
from devbox.ignore.tree import Entry
from devbox.model import Box
from devbox.sync import compare, remote, target
from devbox.sync.rsync import shown
from devbox.workspace import Workspace


class File(msgspec.Struct, frozen=True):
    """A file on one side. size: bytes. mtime: unix seconds of that side's clock."""

    path: str
    size: int
    mtime: float


class Differing(msgspec.Struct, frozen=True):
    """A file that both sides have, not the same. newer: by the times of last change."""

    path: str
    size_here: int
    size_there: int
    newer: Literal["here", "box"]


class Difference(msgspec.Struct, frozen=True):
    """Paths are relative to the synced folder and harmless for a terminal. ignored_there: only
    on the box and never fetched, because an ignore file of yours names them; `down` in the
    spec's sync table fetches such files. missing: the box has no such folder yet."""

    box: str
    root: str
    folder: str
    only_here: tuple[File, ...] = ()
    only_there: tuple[File, ...] = ()
    differing: tuple[Differing, ...] = ()
    ignored_there: tuple[File, ...] = ()
    missing: bool = False

    @property
    def in_step(self) -> bool:
        """Nothing to send and nothing to fetch."""
        return not (self.only_here or self.only_there or self.differing)


def status(ws: Workspace, box: Box) -> Difference:
    """Both trees compared by size and time. Raises as `rsync.up`, and takes no lock."""
    where = target.find(ws, box)
    with ThreadPoolExecutor(1) as pool:
        # What the box has may be told apart only once the ignore files here were read.
        plain = rules.base(where.sync).with_ignored(())
        asked = pool.submit(remote.list_files, box, where.folder, plain)
        found = tree.read(where.root, where.sync, files=True)
        listing = asked.result()
    picked = rules.selection(where.sync.down)
    wanted: dict[bytes, Entry] = {}
    ignored: dict[bytes, Entry] = {}
    for path, entry in listing.files.items():
        kept = found.rules.keeps(path, folder=False) or not picked.keeps(path, folder=False)
        (wanted if kept else ignored)[path] = entry
    # What is ignored is not in the local walk, but may well be here too.
    here = found.files | {
        p: e for p, e in tree.stat_paths(where.root, wanted).items() if p in wanted
    }
    different = compare.differences(here, wanted)
    away = ignored.keys() - tree.stat_paths(where.root, ignored).keys()
    return Difference(
        box.name,
        str(where.root),
        where.folder,
        files_of(different.only_here, here),
        files_of(different.only_there, wanted),
        tuple(_differing(path, here[path], wanted[path]) for path in different.differing),
        files_of(sorted(away), ignored),
        listing.about.missing,
    )


def files_of(paths: Iterable[bytes], entries: Mapping[bytes, Entry]) -> tuple[File, ...]:
    return tuple(
        File(shown([path])[0], entries[path].size, entries[path].mtime / 1e9) for path in paths
    )


def _differing(path: bytes, here: Entry, there: Entry) -> Differing:
    newer: Literal["here", "box"] = "here" if here.mtime > there.mtime else "box"
    return Differing(shown([path])[0], here.size, there.size, newer)

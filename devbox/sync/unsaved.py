"""What a box has that this computer has not: what the end of its disk would lose."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, get_args

import msgspec

from devbox.ignore import rules, tree
from devbox.ignore.tree import Entry
from devbox.model import Box
from devbox.sync import compare, held, remote, target
from devbox.sync.pull import Pull
from devbox.sync.rsync import Options
from devbox.sync.status import File, files_of
from devbox.workspace import Workspace

#: only: not here. edited: here in an older version. conflict: changed on both sides, or a file
#: here is a folder there. unnamed: synced, but `sync.down` names other files. held: see `held`.
#: ignored: left out by an ignore file, by `exclude`, or because it looks like a secret. outside:
#: not in the synced folder. links: symlinks that lead out of it.
Kind = Literal["only", "edited", "conflict", "unnamed", "held", "ignored", "outside", "links"]
KINDS: tuple[Kind, ...] = get_args(Kind)
NAMED = 200


class Group(msgspec.Struct, frozen=True):
    """count files of `bytes` together, the largest by name. complete: none was left unseen."""

    kind: Kind
    count: int
    bytes: int
    largest: tuple[File, ...] = ()
    complete: bool = True


class Unsaved(msgspec.Struct, frozen=True):
    """root: the folder here that was compared with `folder` on the box. groups: in the order of
    KINDS, empty ones left out. Equal are files of one size and second, or of one content."""

    root: str
    folder: str
    groups: tuple[Group, ...] = ()


def look(ws: Workspace, box: Box) -> Unsaved:
    """One listing of the box, compared with the local files and the last sync. Raises as
    `rsync.down`; changes nothing and takes no lock."""
    where = target.find(ws, box)
    pull = Pull(ws, box, where, Options())
    listing, outside = remote.survey(box, where.folder, rules.whole(where.sync))
    there = listing.files
    found = tree.read(where.root, where.sync)
    here = tree.stat_paths(where.root, there)
    plan = compare.fetch(here, there, pull.stamp)
    keep = pull.really(plan.keep, here, there)
    back = held.held_back(there, patterns=pull.patterns())
    picked = rules.selection(where.sync.down)

    def kind(path: bytes) -> Kind | None:
        covered = found.rules.keeps(path, folder=False)
        named = found.plain.keeps(path, folder=False) and not picked.keeps(path, folder=False)
        fetched = named if where.sync.down else covered
        if path in back:
            return "held"
        if keep.get(path) == compare.LEADS_OUT:
            return "links"
        if path in keep:
            # An edit of here that the box has not is no loss; of an ignored file, which is never
            # sent, nobody knows which one is wanted.
            return None if keep[path] == compare.EDITED and covered else "conflict"
        if not fetched:
            return "unnamed" if covered else "ignored"
        return "edited" if path in here else "only"

    missed: dict[Kind, list[bytes]] = {}
    for path in [*plan.take, *keep]:
        if what := kind(path):
            missed.setdefault(what, []).append(path)
    groups = [_group(what, missed[what], there) for what in KINDS if what in missed]
    if outside.files:
        largest = _files(listing.largest, listing.largest)
        groups.append(Group("outside", outside.files, outside.bytes, largest, outside.complete))
    return Unsaved(str(where.root), where.folder, tuple(groups))


def _group(kind: Kind, paths: list[bytes], there: Mapping[bytes, Entry]) -> Group:
    total = sum(there[path].size for path in paths)
    return Group(kind, len(paths), total, _files(paths, there))


def _files(paths: Iterable[bytes], entries: Mapping[bytes, Entry]) -> tuple[File, ...]:
    largest = sorted(paths, key=lambda path: (-entries[path].size, path))
    return files_of(largest[:NAMED], entries)

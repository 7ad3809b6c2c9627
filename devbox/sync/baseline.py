"""What we remember of the last sync with a box, so that the next one knows who changed what.

The laptop's half is a file of its own per box under DEVBOX_HOME; the box's half is synced.json
there (see devbox/box/files/baseline.py). Clocks of two machines are never compared.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from devbox import files, paths
from devbox.described import described
from devbox.ignore.tree import Entry
from devbox.model import Box

#: rsync compares times by the second: a file saved again within this time of the sync that sent
#: it could look unchanged to the next one.
RACY_NS = 2_000_000_000
_MAX_KNOWN = 50_000
_MAX_BYTES = 64 << 20


class Stamp(msgspec.Struct, frozen=True):
    """start, end: when the last whole sync began and ended, ns of this machine's clock. box_time:
    what the box changed up to then has been seen here, ns of the box's clock. known: path →
    (size, mtime ns) of files sent or fetched since, as they were then. edited: differing files
    that the last sync left alone. came: path → (size, mtime ns) of files that lay on the box's disk
    before its first sync, from its image. Paths are latin-1 text of their bytes. root: the local
    folder."""

    root: str = ""
    start: int = 0
    end: int = 0
    box_time: int = 0
    known: dict[str, tuple[int, int]] = {}
    edited: tuple[str, ...] = ()
    came: dict[str, tuple[int, int]] = {}

    @property
    def is_first(self) -> bool:
        """Nothing was synced between this folder and this box yet."""
        return self.end == 0

    def changed_here(self, path: bytes, entry: Entry) -> bool:
        """Whether a user (or a program of theirs) may have changed it since the last sync."""
        name = path.decode("latin-1")
        if self.is_first or entry.kind == "l" or name in self.edited:
            return True
        known = self.known.get(name)
        if known:
            return known != (entry.size, entry.mtime)
        return entry.ctime > self.end or entry.mtime > self.start

    def changed_there(self, path: bytes, entry: Entry) -> bool:
        """Whether it changed on the box since we last saw it there."""
        if self.is_first:
            return True
        size, mtime = self.known.get(path.decode("latin-1"), (-1, -1))
        sent = size == entry.size and mtime // 10**9 == entry.mtime // 10**9
        return entry.mtime > self.box_time and not sent

    def is_of_image(self, path: bytes, entry: Entry) -> bool:
        """Whether it is as it came with the box's image: the next disk has it again."""
        return self.came.get(path.decode("latin-1")) == (entry.size, entry.mtime)

    def of_image(self, entries: Mapping[bytes, Entry]) -> Stamp:
        """With these as all that came with the box's image."""
        if len(entries) > _MAX_KNOWN:
            return msgspec.structs.replace(self, came={})  # then all of it counts as made there
        came = {p.decode("latin-1"): (e.size, e.mtime) for p, e in entries.items()}
        return msgspec.structs.replace(self, came=came)

    def saved_again(self, root: Path) -> list[bytes]:
        """Files with the size and second that rsync last saw, yet saved since: to be sent
        whatever rsync thinks of their times."""
        out: list[bytes] = []
        for name, (size, mtime) in self.known.items():
            if mtime < self.start - RACY_NS:
                continue
            path = name.encode("latin-1")
            try:
                now = os.lstat(os.path.join(os.fsencode(root), path))
            except OSError:
                continue
            same_second = now.st_mtime_ns // 10**9 == mtime // 10**9
            if now.st_size == size and same_second and now.st_mtime_ns != mtime:
                out.append(path)
        return out

    def remembering(self, entries: Mapping[bytes, Entry]) -> Stamp:
        """With these files as they are now known on both sides."""
        new = {path.decode("latin-1"): (e.size, e.mtime) for path, e in entries.items()}
        known = {**self.known, **new}
        return msgspec.structs.replace(self, known=dict(list(known.items())[-_MAX_KNOWN:]))

    def recent(self, since: int) -> Stamp:
        """Without the known files that times alone tell: those last changed before `since`."""
        known = {name: value for name, value in self.known.items() if value[1] >= since - RACY_NS}
        return msgspec.structs.replace(self, known=known)


def load(box: Box, root: Path) -> Stamp:
    """The stamp of this box and this folder; an empty one when there is none that can be read."""
    file = folder() / f"{box.id}.json"
    empty = Stamp(root=str(root))
    if not file.is_file() or file.stat().st_size > _MAX_BYTES:
        return empty
    try:
        found = msgspec.json.decode(file.read_bytes(), type=described(Stamp))
    except msgspec.DecodeError:
        return empty  # then every file counts as changed here: asked about, never lost
    return found if found.root == str(root) else empty


def last(box: Box) -> float:
    """When a whole sync of the box last ended here, unix seconds; 0 for never."""
    file = folder() / f"{box.id}.json"
    try:
        return msgspec.json.decode(file.read_bytes(), type=described(Stamp)).end / 1e9
    except (FileNotFoundError, msgspec.DecodeError):
        return 0.0


def save(box: Box, stamp: Stamp) -> None:
    files.write_atomic(folder() / f"{box.id}.json", msgspec.json.encode(stamp))


def folder() -> Path:
    """Stamps and locks of syncs."""
    return files.private_dir(paths.home() / "sync")


def names(found: Iterable[bytes]) -> tuple[str, ...]:
    """Paths as stamps and messages hold them."""
    return tuple(path.decode("latin-1") for path in found)

"""Two trees side by side, and what `sync down` does about each difference. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from devbox.ignore.tree import Entry
from devbox.sync.baseline import Stamp

EDITED = "edited here and not pushed yet"
BOTH = "changed here and on the box"
NEWER_THERE = "newer on the box"
NEWER_HERE = "newer here"
IN_THE_WAY = "in the way: a file or link here is a folder on the box, or the other way round"

LEADS_OUT = "a link that leads out of the folder"
HELD = "held back, because programs here act on such a file; fetch it with --path"

Files = Mapping[bytes, Entry]


class Differences(NamedTuple):
    """Paths in byte order: only on this machine, only on the box, on both but not the same."""

    only_here: list[bytes]
    only_there: list[bytes]
    differing: list[bytes]


class Fetch(NamedTuple):
    """What to fetch from the box, and what to leave alone (path → why)."""

    take: list[bytes]
    keep: dict[bytes, str]


def differences(here: Files, there: Files) -> Differences:
    """Where the two trees differ."""
    return Differences(
        sorted(here.keys() - there.keys()),
        sorted(there.keys() - here.keys()),
        sorted(p for p in here.keys() & there.keys() if not same(here[p], there[p])),
    )


def same(one: Entry, other: Entry) -> bool:
    """As rsync tells it: size and the second of the last change; for a symlink its target."""
    if one.kind != other.kind:
        return False
    if one.kind == "l":
        return one.target == other.target
    return one.size == other.size and one.mtime // 10**9 == other.mtime // 10**9


def fetch(
    here: Files,
    there: Files,
    stamp: Stamp,
    *,
    force: bool = False,
    named: bool = False,
    held: Collection[bytes] = (),
) -> Fetch:
    """What `sync down` takes. here: from `tree.look`. What is only there, as it came with the box's
    image, is passed over unless `named`, or `force`. A file that was changed here since the last
    sync is kept, whatever its time, unless `force`; always kept is what is no file, lies in what
    is no folder, leads out of the tree, or is `held`."""
    take: list[bytes] = []
    keep: dict[bytes, str] = {}
    wanted = named or force
    for path in sorted(there):
        mine = here.get(path)
        if (mine and mine.kind == "d") or any(folder in here for folder in above(path)):
            keep[path] = IN_THE_WAY
        elif mine is not None and same(mine, there[path]):
            continue
        elif mine is None and not wanted and stamp.is_of_image(path, there[path]):
            continue  # why: the next disk has it again
        elif there[path].kind == "l" and leads_out(path, there[path].target):
            keep[path] = LEADS_OUT
        elif path in held:
            # Told whatever the last sync saw: it stays different for as long as it is held.
            if mine is None or mine.mtime <= there[path].mtime:
                keep[path] = HELD
        elif mine is None or force or not stamp.changed_here(path, mine):
            take.append(path)
        else:
            keep[path] = BOTH if stamp.changed_there(path, there[path]) else EDITED
    return Fetch(take, keep)


def leads_out(path: bytes, target: bytes) -> bool:
    """Whether the symlink at `path` may point outside the tree, as rsync's --safe-links sees it
    (unsafe_symlink in its util1.c; the newest also refuses '..' after a name)."""
    if not target or target.startswith(b"/"):
        return True
    depth, named = path.count(b"/"), False
    for part in target.split(b"/"):
        if part == b"..":
            depth -= 1
            if depth < 0 or named:
                return True
        elif part not in (b"", b"."):
            depth, named = depth + 1, True
    return False


def above(path: bytes) -> list[bytes]:
    """The folders a path lies in, outermost first."""
    parts = path.split(b"/")[:-1]
    return [b"/".join(parts[: n + 1]) for n in range(len(parts))]


def within(paths: Iterable[bytes], chosen: Iterable[bytes]) -> list[bytes]:
    """Those of `paths` that are, or lie in, one of `chosen`; all when nothing was chosen."""
    wanted = tuple(chosen)
    if not wanted or b"." in wanted:
        return list(paths)
    return [p for p in paths if any(p == w or p.startswith(w + b"/") for w in wanted)]

"""The files of the box, as the laptop compares them with its own: `files list` and `files look`.
The records are those of `wire.files.Listed`."""

from __future__ import annotations

import os
import stat
import time
from typing import Iterable, Iterator, List, Set, Tuple

from devbox.box.files.walk import Keeps, by_rules, inner_names, walk
from devbox.wire.codec import encode
from devbox.wire.files import Elsewhere, Listed, ListFiles, LookAt, Outside


def list_files(request: ListFiles) -> Iterator[bytes]:
    """Every file under the root that the rules keep, and what lies elsewhere when that is asked."""
    listed = Listed(time.time_ns())
    root, keeps = os.fsencode(request.root), by_rules(request.folders, request.files)
    listed = listed._replace(missing=not os.path.isdir(root))
    left = request.limit
    for name, entry in walk(root, keeps):
        record = _record(entry.path, name)
        left -= bool(record)
        if left < 0:
            listed = listed._replace(more=True)
            break
        yield record
    if request.elsewhere and not listed.more:
        outside, largest = _outside(root, keeps, request.elsewhere)
        yield from (b"o %d %d %s\0" % each for each in largest)
        listed = listed._replace(outside=outside)
    yield encode(listed)


def look(request: LookAt) -> Iterator[bytes]:
    """Exactly the named paths."""
    listed, root = Listed(time.time_ns()), os.fsencode(request.root)
    for name in inner_names(request.names):
        yield _record(os.path.join(root, name), name)
    yield encode(listed)


def _record(path: bytes, name: bytes) -> bytes:
    """Empty for what is neither file nor symlink, or is gone."""
    try:
        about = os.lstat(path)
        if stat.S_ISLNK(about.st_mode):
            return b"l 0 %d %s\0%s\0" % (about.st_mtime_ns, name, os.readlink(path))
    except OSError:
        return b""
    if not stat.S_ISREG(about.st_mode):
        return b""
    return b"f %d %d %s\0" % (about.st_size, about.st_mtime_ns, name)


def _outside(
    root: bytes, keeps: Keeps, bounds: Elsewhere
) -> Tuple[Outside, List[Tuple[int, int, bytes]]]:
    """What lies under the tops but not under `root`, and (size, mtime, name) of the largest."""
    until = time.monotonic() + bounds.seconds
    found: List[Tuple[int, int, bytes]] = []
    complete = True
    try:
        for name, about in elsewhere(root, map(os.fsencode, bounds.tops), keeps, until):
            found.append((about.st_size, about.st_mtime_ns, name))
            if len(found) >= bounds.most:
                raise TimeoutError
    except TimeoutError:
        complete = False
    outside = Outside(len(found), sum(size for size, _, _ in found), complete)
    return outside, sorted(found, reverse=True)[: bounds.named]


def elsewhere(
    root: bytes, tops: Iterable[bytes], keeps: Keeps, until: float
) -> Iterator[Tuple[bytes, os.stat_result]]:
    """(path, stat) of the regular files under `tops` but not under `root`. Left out: hidden entries
    of a top itself, what the rules leave out, and other file systems."""
    seen = {os.path.realpath(root)}
    for top in tops:
        real = os.path.realpath(top)
        if real not in seen:
            seen.add(real)
            yield from _under(top, seen, keeps, until)


def _under(
    top: bytes, seen: Set[bytes], keeps: Keeps, until: float
) -> Iterator[Tuple[bytes, os.stat_result]]:
    def inside(name: bytes, is_folder: bool) -> bool:
        hidden = b"/" not in name and name.startswith(b".")
        if hidden or not keeps(name, is_folder):
            return False
        return not is_folder or os.path.realpath(os.path.join(top, name)) not in seen

    for name, entry in walk(top, inside, one_disk=True, until=until):
        try:
            about = entry.stat(follow_symlinks=False)
        except OSError:
            continue  # gone meanwhile
        if stat.S_ISREG(about.st_mode):
            yield (name if top == b"." else os.path.join(top, name)), about

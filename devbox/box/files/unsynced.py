"""What a pause might lose: files in the workdir that changed since they were last fetched.

synced.json {"t": unix seconds, "pushed": {path: mtime ns}, "exclude": [names]} is written when a
sync has succeeded; without it every file counts. A file counts by its content's and its inode's
time, so one that was unpacked with an old date counts too; one that came from the laptop since
does not while it is as it came. Other file systems (volumes) are left out: they outlive the box.
"""

from __future__ import annotations

import fnmatch
import json
import math
import os
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Sequence, Tuple

from devbox.box import json_file, paths
from devbox.box.format import size
from devbox.wire.codec import clean

NAMES = 200
_SECONDS = 20.0  # the walk stops then, and says so
_NEVER_SYNCED = (
    ".git",
    ".hg",
    ".svn",
    ".venv",
    "venv",
    "node_modules",
    "__pycache__",
    "*.py[co]",
    ".cache",
    ".*_cache",
    ".ipynb_checkpoints",
    ".devbox-*",
)


class Unsynced(NamedTuple):
    """files, bytes: how many and how large; names: the first 200, relative to the workdir;
    complete: the walk saw everything; since: unix seconds of the last sync, 0 for never."""

    files: int
    bytes: int
    names: Tuple[str, ...]
    complete: bool
    since: float

    def sentence(self) -> str:
        """'3 unsynced files (1.2 MB)'."""
        least = "" if self.complete else "at least "
        noun = "file" if self.files == 1 else "files"
        return f"{least}{self.files} unsynced {noun} ({size(self.bytes)})"


def find(root: Path, workdir: Path, *, seconds: float = _SECONDS) -> Unsynced:
    """Look now."""
    stamp = _Stamp(root)
    count, total, complete = 0, 0, True
    names: List[str] = []
    until = time.monotonic() + seconds
    for path, about in files(workdir, stamp.exclude):
        if stamp.misses(path, about):
            count, total = count + 1, total + about.st_size
            if len(names) < NAMES:
                names.append(clean(os.fsencode(path).decode(errors="replace"), 300))
        if time.monotonic() > until:
            complete = False
            break
    return Unsynced(count, total, tuple(names), complete, stamp.since)


def changed(
    root: Path, workdir: Path, exclude: Sequence[str], until: float
) -> Iterator[Tuple[str, os.stat_result]]:
    """(path relative to the workdir, its stat) of each file that counts as unsynced, but for those
    that `exclude` names. TimeoutError as with `files`."""
    stamp = _Stamp(root)
    found = files(workdir, [*stamp.exclude, *exclude], until)
    return ((path, about) for path, about in found if stamp.misses(path, about))


class _Stamp:
    """synced.json as read."""

    def __init__(self, root: Path) -> None:
        stamp = json_file.read(root / "synced.json") or {}
        self.since = json_file.number(stamp.get("t")) or 0.0
        if self.since:
            # A laptop's clock that runs ahead must not hide what changed meanwhile.
            self.since = min(self.since, (root / "synced.json").stat().st_mtime)
        more, pushed = stamp.get("exclude"), stamp.get("pushed")
        self._known = pushed if isinstance(pushed, dict) else {}
        theirs = [name for name in more if isinstance(name, str)] if isinstance(more, list) else []
        self.exclude = [*_NEVER_SYNCED, *theirs]

    def misses(self, path: str, about: os.stat_result) -> bool:
        came = self._known.get(os.fsencode(path).decode("latin-1"))
        changed = max(about.st_mtime, about.st_ctime)
        return changed > self.since and bool(came != about.st_mtime_ns)


def as_json(found: Unsynced) -> Dict[str, Any]:
    fields = found._asdict()
    return {"count": fields.pop("files"), **fields, "names": list(found.names)}


def workdir(name: str) -> Path:
    """The box's workdir, relative to the login's home."""
    return Path.home() / name


def main(argv: List[str]) -> int:
    """`unsynced [WORKDIR]`: the answer as JSON."""
    config = json_file.read(paths.root() / "config.json") or {}
    name = argv[0] if argv else str(config.get("workdir") or "work")
    print(json.dumps(as_json(find(paths.root(), workdir(name)))))
    return 0


def files(
    top: Path, exclude: Sequence[str], until: float = math.inf
) -> Iterator[Tuple[str, os.stat_result]]:
    """(path relative to top, its stat) of each regular file; links are not followed. TimeoutError
    when time.monotonic() passes `until`."""
    try:
        device = top.stat().st_dev
    except OSError:
        return
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            entries = sorted(os.scandir(top / folder), key=lambda entry: entry.name)
        except OSError:
            continue  # gone meanwhile, or not ours to read
        for entry in entries:
            if time.monotonic() > until:
                raise TimeoutError(f"{top} was not looked through in time")
            path = f"{folder}/{entry.name}" if folder else entry.name
            if any(fnmatch.fnmatch(part, p) for p in exclude for part in (entry.name, path)):
                continue
            try:
                about = entry.stat(follow_symlinks=False)
                is_folder = entry.is_dir(follow_symlinks=False)
                is_file = entry.is_file(follow_symlinks=False)
            except OSError:
                continue  # gone meanwhile
            if is_folder and about.st_dev == device:
                waiting.append(path)
            elif is_file:
                yield path, about

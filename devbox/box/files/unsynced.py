"""What a pause might lose: files in the workdir that changed since they were last fetched.

Without a baseline every file counts. A file counts by its content's and its inode's time, so one
that was unpacked with an old date counts too; one that came from the laptop since does not while it
is as it came. Other file systems (volumes) are left out: they outlive the box.
"""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import Iterator, Sequence, Tuple

from devbox.box.files import baseline
from devbox.box.files.walk import walk, without
from devbox.box.format import size
from devbox.wire.files import Baseline

_SECONDS = 20.0  # the walk stops then, and says so
_NEVER_SYNCED = (
    ".git", ".hg", ".svn", ".venv", "venv", "node_modules", "__pycache__", "*.py[co]", ".cache",
    ".*_cache", ".ipynb_checkpoints", ".devbox-*",
)  # fmt: skip


def summary(root: Path, workdir: Path, *, seconds: float = _SECONDS) -> str:
    """'3 unsynced files (1.2 MB)', of the workdir now."""
    count, total, complete = 0, 0, True
    try:
        for _, about in changed(root, workdir, (), time.monotonic() + seconds):
            count, total = count + 1, total + about.st_size
    except TimeoutError:
        complete = False
    return sentence(count, total, complete)


def sentence(files: int, total: int, complete: bool) -> str:
    """complete: none was left unseen."""
    if not files and not complete:
        return "an unknown number of unsynced files"
    least = "" if complete else "at least "
    return f"{least}{files} unsynced {'file' if files == 1 else 'files'} ({size(total)})"


def changed(
    root: Path, workdir: Path, exclude: Sequence[str], until: float
) -> Iterator[Tuple[str, os.stat_result]]:
    """(path relative to the workdir, its stat) of each file that counts as unsynced, but for those
    that `exclude` names. TimeoutError as with `files`."""
    stamp = _Stamp(root)
    found = files(workdir, [*stamp.exclude, *exclude], until)
    return ((path, about) for path, about in found if stamp.misses(path, about))


class _Stamp:
    """The baseline, as far as it can be believed."""

    def __init__(self, root: Path) -> None:
        found = baseline.load(root) or Baseline(0.0)
        self.since, self._pushed = found.t, found.pushed
        self.exclude = [*_NEVER_SYNCED, *found.exclude]
        if self.since:
            # A laptop's clock that runs ahead must not hide what changed meanwhile.
            self.since = min(self.since, baseline.path(root).stat().st_mtime)

    def misses(self, path: str, about: os.stat_result) -> bool:
        came = self._pushed.get(os.fsencode(path).decode("latin-1"))
        changed = max(about.st_mtime, about.st_ctime)
        return changed > self.since and came != about.st_mtime_ns


def workdir(name: str) -> Path:
    """The box's workdir, relative to the login's home."""
    return Path.home() / name


def files(
    top: Path, exclude: Sequence[str], until: float = math.inf
) -> Iterator[Tuple[str, os.stat_result]]:
    """(path relative to top, its stat) of each regular file that no pattern names; links are not
    followed. TimeoutError when time.monotonic() passes `until`."""
    found = walk(os.fsencode(top), without(exclude), one_disk=True, in_order=True, until=until)
    for name, entry in found:
        try:
            if entry.is_file(follow_symlinks=False):
                yield os.fsdecode(name), entry.stat(follow_symlinks=False)
        except OSError:
            continue  # gone meanwhile

"""Deleting local files that a box no longer has, after they were shown."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from devbox.sync.compare import above


def remove(root: Path, paths: Iterable[bytes]) -> list[bytes]:
    """Delete exactly these files and symlinks under `root`, then those of their folders that are
    empty. What is gone now. A path whose folder is, or became, a symlink is left alone: what it
    leads to was not shown."""
    top = os.path.realpath(os.fsencode(root))
    gone: list[bytes] = []
    folders: set[bytes] = set()
    for path in paths:
        full = os.path.join(top, path)
        if os.path.realpath(os.path.dirname(full)) != os.path.dirname(full):
            continue
        try:
            os.unlink(full)
        except (FileNotFoundError, IsADirectoryError, PermissionError):
            continue  # not in the answer, so the caller does not claim it
        gone.append(path)
        folders.update(above(path))
    for folder in sorted(folders, key=len, reverse=True):
        try:
            os.rmdir(os.path.join(top, folder))
        except OSError:
            continue  # something else lives there
    return gone

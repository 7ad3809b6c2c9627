"""Files that git tracks although an ignore file names them: they are part of the project."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from devbox import process
from devbox.errors import DevboxError

_LIST = ("git", "-c", "core.fsmonitor=false", "ls-files", "-z", "-ci", "--exclude-standard")


def ignored(root: Path) -> Iterable[bytes]:
    """Paths relative to `root`. Empty outside a work tree, without git, and where git refuses to
    look (a repository of another user)."""
    if not any((folder / ".git").exists() for folder in (root, *root.parents)):
        return ()
    try:
        done = process.finished(
            _LIST, cwd=str(root), env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"}, timeout=20
        )
    except DevboxError:
        return ()
    return () if done.returncode else done.stdout.split(b"\0")[:-1]

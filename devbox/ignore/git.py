"""What git itself knows of a work tree's files."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from devbox import process
from devbox.errors import DevboxError


def top(root: Path) -> Path | None:
    """The top of the work tree that `root` lies in."""
    folders = (root, *root.parents)
    return next((folder for folder in folders if (folder / ".git").exists()), None)


def tracked_although_ignored(root: Path) -> Iterable[bytes]:
    """Files that git tracks although an ignore file names them: they are part of the project. Paths
    relative to `root`."""
    if top(root) is None:
        return ()
    return _ask(root, "ls-files", "-z", "-ci", "--exclude-standard").split(b"\0")[:-1]


def exclude_files(top: Path) -> Iterable[Path]:
    """The files with rules for the whole work tree that are no .gitignore, the first that decides
    first; they need not exist."""
    inside = b".git/info/exclude"
    if not (top / ".git").is_dir():  # a linked work tree, or a submodule
        inside = _ask(top, "rev-parse", "--git-path", "info/exclude").rstrip(b"\n") or inside
    yield top / os.fsdecode(inside)
    own = _ask(top, "config", "--type=path", "--get", "core.excludesFile").rstrip(b"\n")
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    yield top / os.fsdecode(own) if own else Path(home, "git", "ignore")


def _ask(folder: Path, *words: str) -> bytes:
    """Empty without git, and where git refuses to look (a repository of another user)."""
    try:
        done = process.finished(
            ("git", "-c", "core.fsmonitor=false", *words),
            cwd=str(folder),
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
            timeout=20,
        )
    except DevboxError:
        return b""
    return b"" if done.returncode else done.stdout

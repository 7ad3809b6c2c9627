"""Reading the local tree: its ignore files, its secrets, and when asked every file in it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from devbox import spec
from devbox.errors import SyncError
from devbox.ignore import git, rules
from devbox.ignore.rules import Base, Rule, Rules

_MAX_IGNORE_FILE = 1 << 20


class Entry(NamedTuple):
    """A file ('f') or symlink ('l'); anything else is 'd', which only `look` tells. mtime, ctime:
    nanoseconds; ctime 0 where it is not known. target: what a symlink points to."""

    kind: str
    size: int
    mtime: int
    ctime: int = 0
    target: bytes = b""


@dataclass
class Tree:
    """What was found. rules: with the ignore files. plain: without them. files: path relative to
    the root → entry, empty unless asked for. secrets: held back because they look like some.
    folders, links: those that are kept."""

    rules: Rules
    plain: Rules
    files: dict[bytes, Entry] = field(default_factory=dict)
    secrets: list[bytes] = field(default_factory=list)
    folders: list[bytes] = field(default_factory=list)
    links: list[bytes] = field(default_factory=list)


def read(root: Path, sync: spec.Sync, *, files: bool = False, base: Base | None = None) -> Tree:
    """Walk `root`. base: in place of `rules.base(sync)`. Excluded folders are not entered; folders
    without read permission are passed over, rsync names them. SyncError for a root that is not a
    folder."""
    if not root.is_dir():
        raise SyncError(
            f"the folder to sync, {root}, does not exist",
            fix="make it, or set sync.path in devbox.toml",
        )
    base = base or rules.base(sync)
    outer: list[Rule] = []
    if sync.ignore_files:
        docker = _docker(os.fsencode(root))
        tracked = git.tracked_although_ignored(root)
        base = base.tracking(p for p in tracked if docker.keeps(p, folder=False))
        outer = list(_above(root))
    walk = _Walk(base, files, sync.ignore_files)
    walk.run(os.fsencode(root), outer)
    found = [rule for _, each in sorted(walk.nested, key=lambda n: -n[0]) for rule in each]
    walk.tree.rules = base.with_ignored([*found, *outer, *walk.docker])
    walk.tree.secrets.sort()
    return walk.tree


def stat_paths(root: Path, paths: Iterable[bytes]) -> dict[bytes, Entry]:
    """What is at these paths under `root`: files, symlinks, and 'd' for all else. A path that
    lies in a symlink or file is not looked at; that symlink or file is given instead."""
    top, out = os.fsencode(root), dict[bytes, Entry]()
    folders: dict[bytes, bool] = {b"": True}

    def is_folder(path: bytes) -> bool:
        if path not in folders:
            folders[path] = is_folder(path.rpartition(b"/")[0])
            found = _at(top, path) if folders[path] else None
            if found and found.kind != "d":
                out[path] = found
            folders[path] = bool(found and found.kind == "d")
        return folders[path]

    for path in paths:
        if is_folder(path.rpartition(b"/")[0]) and (found := _at(top, path)):
            out[path] = found
    return out


def _docker(root: bytes) -> Rules:
    """The root's .dockerignore alone."""
    path = root + b"/.dockerignore"
    return Rules(rules.dockerignore(_content(path)) if os.path.isfile(path) else ())


class _Walk:
    def __init__(self, base: Base, files: bool, ignore_files: bool) -> None:
        self.base, self.want_files, self.want_ignored = base, files, ignore_files
        plain = base.with_ignored(())
        self.tree = Tree(plain, plain)
        self.nested: list[tuple[int, list[Rule]]] = []
        self.docker: list[Rule] = []

    def run(self, root: bytes, outer: list[Rule]) -> None:
        # A folder without an ignore file shares the chain, and so the compiled rules, of the
        # one above it.
        waiting = [(root, b"", outer, self._compiled(outer))]
        while waiting:
            path, under, chain, deciding = waiting.pop()
            entries = _scan(path)
            names = {entry.name for entry in entries} if self.want_ignored else set()
            if b".dockerignore" in names and not under:
                self.docker = rules.dockerignore(_content(path + b"/.dockerignore"))
                deciding = self._compiled(chain)
            if b".gitignore" in names:
                own = rules.gitignore(_content(path + b"/.gitignore"), under=under)
                self.nested.append((under.count(b"/") + bool(under), own))
                chain = [*own, *chain]
                deciding = self._compiled(chain)
            for entry in entries:
                name = under + b"/" + entry.name if under else entry.name
                if self._takes(entry, name, deciding):
                    waiting.append((entry.path, name, chain, deciding))

    def _takes(self, entry: os.DirEntry[bytes], name: bytes, deciding: Rules) -> bool:
        """Note a file; True for a folder to enter."""
        folder = entry.is_dir(follow_symlinks=False)
        link = entry.is_symlink()
        if not (folder or link or self.want_files or _maybe_secret(entry.name)):
            return False
        rule = deciding.decide(name, folder=folder)
        if rule and not rule.keep:
            if rule.source == "secret":
                self.tree.secrets.append(name)
            return False
        if folder or link:
            (self.tree.folders if folder else self.tree.links).append(name)
        if not folder and self.want_files and (found := _entry(entry)):
            self.tree.files[name] = found
        return folder

    def _compiled(self, chain: list[Rule]) -> Rules:
        return self.base.with_ignored([*chain, *self.docker])


def _above(root: Path) -> Iterator[Rule]:
    """Rules that git takes from elsewhere than `root`: of .gitignore files between it and the top
    of its work tree, nearest first, of .git/info/exclude, and of the user's own file."""
    top = git.top(root)
    if top is None:
        return
    names: tuple[bytes, ...] = ()
    for folder in (root, *root.parents):
        if folder == top:
            break
        names = (os.fsencode(folder.name), *names)
        yield from _rules(folder.parent / ".gitignore", names)
    for file in git.exclude_files(top):
        yield from _rules(file, names)


def _rules(file: Path, below: tuple[bytes, ...]) -> list[Rule]:
    """Those of a .gitignore above the root, which `below` leads down to."""
    if not file.is_file():
        return []
    return rules.gitignore(_content(os.fsencode(file)), below=below)


def _scan(path: bytes) -> list[os.DirEntry[bytes]]:
    try:
        with os.scandir(path) as found:
            return list(found)
    except (PermissionError, FileNotFoundError, NotADirectoryError):
        return []  # gone or closed meanwhile; rsync says so where it matters


def _content(path: bytes) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read(_MAX_IGNORE_FILE)
    except OSError as error:
        raise SyncError(
            f"{os.fsdecode(path)} cannot be read: {error.strerror}",
            means="nothing was synced, because what it excludes is not known",
            fix="make it readable, or set sync.ignore_files = false",
        ) from error


def _maybe_secret(name: bytes) -> bool:
    return name.startswith((b".", b"id_")) or name.endswith(b".pem")


def _entry(entry: os.DirEntry[bytes]) -> Entry | None:
    """None for what is neither file nor symlink, or is gone."""
    try:
        found = _made(entry.stat(follow_symlinks=False), entry.path)
    except OSError:
        return None
    return found if found.kind != "d" else None


def _at(top: bytes, path: bytes) -> Entry | None:
    full = os.path.join(top, path)
    try:
        return _made(os.lstat(full), full)
    except OSError:
        return None


def _made(status: os.stat_result, path: bytes) -> Entry:
    if stat.S_ISLNK(status.st_mode):
        return Entry("l", 0, status.st_mtime_ns, status.st_ctime_ns, os.readlink(path))
    kind = "f" if stat.S_ISREG(status.st_mode) else "d"
    return Entry(kind, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

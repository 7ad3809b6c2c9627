"""What a box was given, to tell edits on it from what was there: the Space's repository for a box
on a Space, else a commit of the project's git."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Protocol

from devbox.deploy.repo import Object, Repo
from devbox.errors import Conflict, NotFound
from devbox.providers.hf.repository import SpaceRepository
from devbox.text import clean


class BaselineFile(NamedTuple):
    """A file. large: kept through LFS, so that its content is not looked at."""

    size: int
    blob: str
    large: bool = False


class Base(Protocol):
    """files: by path relative to the project's folder. label: for a user."""

    label: str
    files: dict[str, BaselineFile]

    def contents(self, paths: Iterable[str]) -> dict[str, bytes]: ...


class CommitBaseline:
    """Of a commit. prefix: the project's folder below the top, '' or 'a/b/'."""

    def __init__(self, repo: Repo, revision: str, prefix: str = "") -> None:
        self._repo = repo
        self.label = f"commit {revision[:12]}"
        self.files = {
            each.path.removeprefix(prefix): BaselineFile(each.size, each.oid)
            for each in repo.files(revision)
            if each.path.startswith(prefix)
        }

    def contents(self, paths: Iterable[str]) -> dict[str, bytes]:
        return dict(_of_git(self._repo, {path: self.files[path] for path in paths}))


class SpaceBaseline:
    """Of a Space's main branch. What the project's git or its folder has already is not
    downloaded."""

    def __init__(self, space: SpaceRepository, root: Path, repo: Repo | None) -> None:
        self._space, self._root, self._repo = space, root, repo
        self.label = space.space
        self.files = {
            path: BaselineFile(each.size, each.blob, each.large)
            for path, each in space.listing().items()
        }

    def contents(self, paths: Iterable[str]) -> dict[str, bytes]:
        wanted = {path: self.files[path] for path in paths}
        found = dict(_of_git(self._repo, wanted)) if self._repo else {}
        for path, given in wanted.items():
            if path not in found:
                mine = _here(self._root / path, given)
                found[path] = self._space.content(path) if mine is None else mine
        return found


def of_git(root: Path, revision: str) -> CommitBaseline:
    """Conflict outside git; NotFound for an unknown revision."""
    repo = Repo.at(root)
    if repo is None:
        raise Conflict(
            f"{root} is in no git repository, so edits cannot be told from what was there",
            means="nothing was changed",
            fix="fetch whole files instead: devbox sync down",
        )
    oid = repo.resolve(revision)
    if not oid:
        raise NotFound(
            f"there is no commit {clean(revision, 60)!r} here", fix="name one: --base HEAD"
        )
    return CommitBaseline(repo, oid, repo.prefix(root))


def _of_git(repo: Repo, wanted: dict[str, BaselineFile]) -> Iterable[tuple[str, bytes]]:
    objects = [Object(each.blob, each.size, path) for path, each in wanted.items()]
    return ((each.path, content) for each, content in repo.contents(objects))


def _here(file: Path, given: BaselineFile) -> bytes | None:
    """The project's own copy, when it is that version."""
    if file.is_symlink() or not file.is_file() or file.stat().st_size != given.size:
        return None
    content = file.read_bytes()
    head = b"blob %d\0" % len(content)
    # Git's own name of a blob; nothing is secured by it.
    named = hashlib.sha1(head + content, usedforsecurity=False).hexdigest()
    return content if named == given.blob else None

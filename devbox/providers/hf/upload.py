"""A project into a Space's repository: one commit, of what differs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from devbox.providers.hf import image, project_files
from devbox.providers.hf.hub import Hub
from devbox.spec import BoxSpec
from devbox.text import counted
from devbox.wire.codec import JsonObject

#: the Hub's own files, which no project needs to have
_THEIRS = frozenset({".gitattributes", image.README, image.DOCKERFILE})
Content = Path | bytes


def wanted(title: str, spec: BoxSpec, root: str, *, adopted: bool) -> dict[str, Content]:
    """What the repository should hold: the project, and what a Space needs around it. An adopted
    Space keeps its own Dockerfile and metadata unless the project brings some."""
    files: dict[str, Content] = dict(project_files.collect(root, spec.sync))
    if adopted:
        readme = files.get(image.README)
        if isinstance(readme, Path) and not image.has_metadata(readme.read_bytes()):
            del files[image.README]
        return files
    at_root = {
        name: file.read_bytes()
        for name in (image.README, image.DOCKERFILE)
        if isinstance(file := files.get(name), Path)
    }
    return {**files, **image.complete(at_root, title, spec.image, spec.build_args)}


def push(hub: Hub, repo: str, files: dict[str, Content], *, prune: bool) -> bool:
    """Commit what differs from the repository's main branch, all at once; False when nothing
    does. prune: remove what the project no longer has."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    changed, stale = changes(hub, repo, files)
    stale = stale if prune else []
    if not changed and not stale:
        return False
    operations: list[CommitOperationAdd | CommitOperationDelete] = [
        *(CommitOperationAdd(path, files[path]) for path in changed),
        *(CommitOperationDelete(path) for path in stale),
    ]
    hub.call(
        f"uploading {counted(len(changed), 'file')} to {repo}",
        lambda api: api.create_commit(
            repo, operations, commit_message="Update from devbox", repo_type="space"
        ),
    )
    return True


def changes(
    hub: Hub, repo: str, files: Mapping[str, Content], kind: str = "space"
) -> tuple[list[str], list[str]]:
    """(paths that the repository's main branch lacks or has otherwise, paths that only it has).
    kind: space, model or dataset."""
    remote = _listing(hub, repo, kind)
    changed = [path for path, content in files.items() if not _same(content, remote.get(path))]
    return changed, [path for path in remote if path not in files and path not in _THEIRS]


def dockerfile_differs(hub: Hub, repo: str, files: dict[str, Content]) -> bool:
    """Whether the image would be made from other instructions than the Space's."""
    mine = files.get(image.DOCKERFILE)
    return mine is not None and not _same(mine, _listing(hub, repo).get(image.DOCKERFILE))


def _listing(hub: Hub, repo: str, kind: str = "space") -> dict[str, tuple[str, str]]:
    """Path → (git blob id, SHA-256 of a large file or '')."""
    rows = hub.pages(
        f"listing the files of {repo}",
        f"/api/{kind}s/{repo}/tree/main",
        {"recursive": "true"},
    )
    files = [row for row in rows if isinstance(row, dict) and row.get("type") == "file"]
    return {path: _ids(row) for row in files if isinstance(path := row.get("path"), str)}


def _ids(row: JsonObject) -> tuple[str, str]:
    large = row.get("lfs")
    return str(row.get("oid")), str(large.get("oid")) if isinstance(large, dict) else ""


def _same(content: Content, ids: tuple[str, str] | None) -> bool:
    if ids is None:
        return False
    blob, large = ids
    if large:
        return _digest(hashlib.sha256(), content) == large
    length = content.stat().st_size if isinstance(content, Path) else len(content)
    # Git's own name of a blob; nothing is secured by it.
    named = hashlib.sha1(b"blob %d\0" % length, usedforsecurity=False)
    return _digest(named, content) == blob


def _digest(state: hashlib._Hash, content: Content) -> str:
    if isinstance(content, bytes):
        state.update(content)
    else:
        with content.open("rb") as stream:
            while block := stream.read(1 << 20):
                state.update(block)
    return state.hexdigest()

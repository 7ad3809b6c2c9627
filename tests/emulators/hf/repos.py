"""Repositories in memory: commits, files by path, large files by their SHA-256."""

from __future__ import annotations

import base64
import codecs
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import yaml

from tests.emulators.hf.http import HubError
from tests.emulators.hf.logs import stamp

GITATTRIBUTES = b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"
LARGE = 10 * 1024 * 1024
"""Above this many bytes a file goes through LFS; so does anything binary."""


@dataclass(frozen=True)
class File:
    """One file of a commit. ``oid`` is git's blob id, ``sha256`` set when it is a large file."""

    content: bytes
    lfs: bool = False

    @cached_property
    def oid(self) -> str:
        head = b"blob %d\0" % len(self.content)
        return hashlib.sha1(head + self.content, usedforsecurity=False).hexdigest()

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def etag(self) -> str:
        """What identifies the content to a client: see ``CommitOperationAdd._local_oid``."""
        return self.sha256 if self.lfs else self.oid

    def entry(self, path: str) -> dict[str, Any]:
        """The file in a tree listing."""
        entry: dict[str, Any] = {
            "type": "file",
            "path": path,
            "size": len(self.content),
            "oid": self.oid,
        }
        if self.lfs:
            entry["lfs"] = {"oid": self.sha256, "size": len(self.content), "pointerSize": 130}
        return entry


@dataclass(frozen=True)
class Commit:
    oid: str
    title: str
    date: float
    files: dict[str, File]


@dataclass
class Repo:
    """A model, dataset or Space repository; ``commits`` oldest first, all on ``main``."""

    kind: str
    id: str
    private: bool
    created: float
    commits: list[Commit] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    gated: bool = False
    """Only accounts in ``accepted`` may read its files."""
    accepted: set[str] = field(default_factory=set)

    @property
    def head(self) -> Commit:
        return self.commits[-1]

    @property
    def files(self) -> dict[str, File]:
        return self.head.files

    def at(self, revision: str) -> Commit:
        """The commit of ``main``, of a tag, or of a full commit id."""
        if revision == "main":
            return self.head
        wanted = self.tags.get(revision, revision)
        for commit in self.commits:
            if commit.oid == wanted:
                return commit
        raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")

    def commit(self, title: str, date: float, files: dict[str, File]) -> Commit:
        """Add a commit whose complete content is ``files``."""
        seed = json.dumps([self.id, len(self.commits), title, date, sorted(files)])
        oid = hashlib.sha1(seed.encode(), usedforsecurity=False).hexdigest()
        self.commits.append(Commit(oid, title, date, dict(files)))
        return self.head

    def card(self) -> dict[str, Any]:
        """The metadata at the top of README.md; empty when there is none or it is broken."""
        readme = self.files.get("README.md")
        if readme is None:
            return {}
        try:
            return dict(_card_of(readme.content))
        except ValueError:
            return {}

    def siblings(self, commit: Commit, *, blobs: bool) -> list[dict[str, Any]]:
        listed = []
        for path, file in sorted(commit.files.items()):
            sibling: dict[str, Any] = {"rfilename": path}
            if blobs:
                sibling |= {"size": len(file.content), "blobId": file.oid}
                if file.lfs:
                    sibling["lfs"] = {
                        "size": len(file.content),
                        "sha256": file.sha256,
                        "pointerSize": 130,
                    }
            listed.append(sibling)
        return listed

    def info(self, *, blobs: bool = False, revision: str = "main") -> dict[str, Any]:
        """What every kind of repository tells about itself, as of ``revision``."""
        commit = self.at(revision)
        card = self.card()
        listed = card.get("tags") or []
        tags = [str(tag) for tag in (listed if isinstance(listed, list) else [listed])]
        return {
            "_id": hashlib.md5(self.id.encode(), usedforsecurity=False).hexdigest()[:24],
            "id": self.id,
            "author": self.id.split("/")[0],
            "sha": commit.oid,
            "createdAt": stamp(self.created),
            "lastModified": stamp(commit.date),
            "private": self.private,
            "gated": False,
            "disabled": False,
            "likes": 0,
            "downloads": 0,
            "tags": [*tags, "region:us"],
            "cardData": card,
            "siblings": self.siblings(commit, blobs=blobs),
        }

    def tree(self, commit: Commit, under: str, *, recursive: bool) -> list[dict[str, Any]]:
        """Files and folders below ``under``; only its direct children unless ``recursive``."""
        prefix = f"{under}/" if under else ""
        entries: dict[str, dict[str, Any]] = {}
        for path, file in sorted(commit.files.items()):
            if not path.startswith(prefix):
                continue
            parts = path.removeprefix(prefix).split("/")
            for depth in range(1, len(parts) if recursive else min(2, len(parts))):
                folder = prefix + "/".join(parts[:depth])
                oid = hashlib.sha1(folder.encode(), usedforsecurity=False).hexdigest()
                entries[folder] = {"type": "directory", "path": folder, "size": 0, "oid": oid}
            if recursive or len(parts) == 1:
                entries[path] = file.entry(path)
        if under and not entries:
            raise HubError(404, f"{under} does not exist", "EntryNotFound")
        return list(entries.values())

    def check_out(self, target: Path) -> None:
        """Write the files of ``main`` below ``target``."""
        for path, file in self.files.items():
            place = target / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.content)


@lru_cache(maxsize=512)
def _card_of(readme: bytes) -> dict[str, Any]:
    return front_matter(readme.decode(errors="replace"))


def front_matter(text: str) -> dict[str, Any]:
    """The YAML block at the top of a README; ``ValueError`` if it cannot be read."""
    if not text.startswith("---"):
        return {}
    head, found, _ = text.removeprefix("---").partition("\n---")
    if not found:
        return {}
    try:
        data = yaml.safe_load(head)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ValueError("metadata must be a mapping")
    return data


def first_readme(name: str, sdk: str) -> bytes:
    """The README that the Hub writes into a new Space."""
    return (
        f"---\ntitle: {name}\nemoji: 🐳\ncolorFrom: blue\ncolorTo: green\n"
        f"sdk: {sdk}\npinned: false\n---\n"
    ).encode()


def is_binary(sample: bytes) -> bool:
    """Whether the first bytes of a file are no text; a character cut off at the end is fine."""
    try:
        return "\0" in codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError:
        return True


def apply(
    repo: Repo, lines: Iterable[bytes], large: dict[str, bytes]
) -> tuple[str, dict[str, File]]:
    """Read a commit's NDJSON: its title and the complete files it leads to.

    ``large`` holds the uploaded large files by SHA-256. Refuses a stale
    ``parentCommit`` (412), a missing upload (400) and deleting what is not
    there (404).
    """
    files = dict(repo.files)
    title = ""
    for line in lines:
        if not line.strip():
            continue
        item = json.loads(line)
        key, value = item["key"], item["value"]
        if key == "header":
            title = value["summary"]
            parent = value.get("parentCommit")
            if parent is not None and not repo.head.oid.startswith(parent):
                raise HubError(412, "A commit has happened since. Please refresh and try again.")
        elif key == "file":
            files[value["path"]] = File(base64.b64decode(value["content"]))
        elif key == "lfsFile":
            if value["oid"] not in large:
                raise HubError(400, f"LFS object {value['oid']} was not uploaded")
            files[value["path"]] = File(large[value["oid"]], lfs=True)
        elif key in ("deletedFile", "deletedFolder"):
            _delete(files, value["path"], folder=key == "deletedFolder")
        else:
            raise HubError(400, f"Unknown commit operation {key}")
    return title, files


def _delete(files: dict[str, File], path: str, *, folder: bool) -> None:
    prefix = path.rstrip("/") + "/"
    doomed = [name for name in files if (name.startswith(prefix) if folder else name == path)]
    if not doomed:
        raise HubError(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
    for name in doomed:
        del files[name]

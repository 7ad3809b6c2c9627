"""What a build sends to the engine: the project's files, checked before any of them leaves.

UsageError stops a context that is too large or seems to hold secrets, with the list.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, NamedTuple

from devbox.errors import UsageError
from devbox.ignore import rules as ignore_rules
from devbox.ignore.rules import DOCKERIGNORE, Rules
from devbox.images import secret_scan
from devbox.text import clean, size

MOST = 200 * 1024**2
_SHOWN = 10  # entries of a list in an error
_HASHED = 1 << 20


class File(NamedTuple):
    """path: in the context, with `/`. source: its absolute path. link: a symlink's target, else
    empty. executable counts into the hash, as it does into the engine's cache."""

    path: str
    source: str
    size: int
    executable: bool
    link: str = ""
    mtime_ns: int = 0


class Context(NamedTuple):
    """files: by path. extra: path → content made by devbox, over a project's file of that name.
    digest: of all paths, modes and contents."""

    root: Path | None
    files: tuple[File, ...]
    extra: dict[str, bytes]
    digest: str

    @property
    def size(self) -> int:
        return sum(each.size for each in self.files) + sum(map(len, self.extra.values()))


def collect(
    root: Path | None, extra: Mapping[str, bytes] | None = None, *, most: int = MOST
) -> Context:
    """The context of a project folder; None for an image without a project's files.

    UsageError, before anything is sent, for over `most` bytes and for likely secrets.
    """
    made = dict(extra or {})
    found = sorted(walk(root, rules_of(root)), key=lambda file: file.path) if root else []
    # Its rules are applied; an engine would apply them again, to our own files too.
    files = tuple(file for file in found if file.path not in made and file.path != DOCKERIGNORE)
    if sum(file.size for file in files) > most:
        _refuse_size(files, most)
    digest, secrets = _read(files)
    if secrets:
        _refuse_secrets(secrets)
    for path, content in sorted(made.items()):
        digest.update(f"{path}\0made\0{len(content)}\0".encode())
        digest.update(content)
    return Context(root, files, made, digest.hexdigest())


def rules_of(root: Path) -> Rules:
    """What its .dockerignore, or else devbox, leaves out of an image."""
    file = root / DOCKERIGNORE
    return ignore_rules.image(file.read_bytes() if file.is_file() else b"")


def walk(root: Path, rules: Rules) -> Iterator[File]:
    """Files and symlinks that the rules leave in. An ignored folder is entered only when an
    exception may bring something in it back."""
    has_exceptions = any(rule.keep for rule in rules.rules)
    pending = [("", str(root))]
    while pending:
        prefix, folder = pending.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                path = prefix + entry.name
                is_folder = entry.is_dir(follow_symlinks=False)
                rule = rules.decide(os.fsencode(path), folder=is_folder)
                out = rule is not None and not rule.keep
                if is_folder:
                    if not out or has_exceptions:
                        pending.append((f"{path}/", entry.path))
                elif not out:
                    found = entry.stat(follow_symlinks=False)
                    if stat.S_ISLNK(found.st_mode):
                        link = os.readlink(entry.path)
                        yield File(path, entry.path, 0, False, link, found.st_mtime_ns)
                    elif stat.S_ISREG(found.st_mode):
                        executable = bool(found.st_mode & 0o100)
                        yield File(
                            path, entry.path, found.st_size, executable, "", found.st_mtime_ns
                        )


def archive(context: Context, dockerfile: str, into: IO[bytes], *, name: str) -> None:
    """A tar of the context for the classic builder, with the Dockerfile under a name of its own.
    Owners and times are left out, so that the same files are the same bytes."""
    with tarfile.open(fileobj=into, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for file in context.files:
            entry = tarfile.TarInfo(file.path)
            if file.link:
                entry.type, entry.linkname = tarfile.SYMTYPE, file.link
                tar.addfile(entry)
                continue
            with open(file.source, "rb") as stream:
                entry.size = os.fstat(stream.fileno()).st_size
                entry.mode = 0o755 if file.executable else 0o644
                tar.addfile(entry, stream)
        # The engine reads the Dockerfile and then drops what is named here.
        unseen = f"{name}\n{DOCKERIGNORE}\n".encode()
        made = {**context.extra, name: dockerfile.encode(), DOCKERIGNORE: unseen}
        for path, content in made.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(content), 0o644
            tar.addfile(entry, io.BytesIO(content))


def _read(files: tuple[File, ...]) -> tuple[hashlib._Hash, list[str]]:
    """The digest, and the files that look like secrets."""
    digest, secrets = hashlib.sha256(), []
    for file in files:
        digest.update(
            f"{file.path}\0{file.link}\0{file.executable:d}{file.size}\0".encode(
                errors="surrogateescape"
            )
        )
        if file.link:
            continue
        handle = os.open(file.source, os.O_RDONLY)
        try:
            # One more byte than it should have: mostly one call reads it all.
            head = block = os.read(handle, min(file.size + 1, _HASHED))
            digest.update(block)
            while file.size >= _HASHED and block:
                block = os.read(handle, _HASHED)
                digest.update(block)
        finally:
            os.close(handle)
        if secret_scan.named_like(file.path) or secret_scan.holds(head):
            secrets.append(file.path)
    return digest, secrets


def _refuse_size(files: tuple[File, ...], most: int) -> None:
    largest = sorted(files, key=lambda file: -file.size)[:_SHOWN]
    rows = "\n".join(f"  {size(file.size):>9}  {clean(file.path, 120)}" for file in largest)
    total = sum(file.size for file in files)
    raise UsageError(
        f"the build context is {size(total)}, over {size(most)}; the largest of {len(files)} "
        f"files:\n{rows}",
        means="nothing was sent or built",
        fix=f"name data and weights in {DOCKERIGNORE}; they belong in a volume or a checkpoint",
    )


def _refuse_secrets(found: list[str]) -> None:
    rows = "\n".join(f"  {clean(path, 120)}" for path in found[:_SHOWN])
    more = f"\n  and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    raise UsageError(
        f"these files look like secrets and would be in the image:\n{rows}{more}",
        means="nothing was sent or built",
        fix=f"name them in {DOCKERIGNORE}; a build gets a secret with --secret NAME=env:VAR",
    )

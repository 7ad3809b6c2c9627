"""What is done with exactly the files that are named: `files digest` and `files delete`. The laptop
does the same with its own."""

from __future__ import annotations

import hashlib
import os
import sys
from typing import Iterable, Iterator, List, Optional, Set, Tuple

from devbox.box.files.walk import inner_names
from devbox.wire.codec import encode
from devbox.wire.files import Deleted, DeleteFiles, DigestFiles, Digests


def digest(request: DigestFiles) -> Iterator[bytes]:
    """Their content hashes."""
    root = os.fsencode(request.root)
    every = ((name, content(os.path.join(root, name))) for name in inner_names(request.names))
    yield encode(Digests({name.decode("latin-1"): found for name, found in every if found}))


def content(path: bytes) -> Optional[str]:
    """The hash of a file's content; None where it cannot be read, and for a symlink."""
    found = hashlib.blake2b(digest_size=16)
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as stream:
            for block in iter(lambda: stream.read(1 << 20), b""):
                found.update(block)
    except OSError:
        return None
    return found.hexdigest()


def delete(request: DeleteFiles) -> Iterator[bytes]:
    """Delete them."""
    names, folders = inner_names(request.names), inner_names(request.folders)
    gone, errors = remove(os.fsencode(request.root), names, folders)
    sys.stderr.writelines(f"{error}\n" for error in errors)
    yield encode(Deleted(tuple(name.decode("latin-1") for name in gone)))


def remove(
    root: bytes, names: Iterable[bytes], folders: Iterable[bytes] = ()
) -> Tuple[List[bytes], List[str]]:
    """Delete exactly these files and symlinks under `root`, then those of their folders, and of all
    in `folders`, that are empty. Those that are gone now, and what went wrong. A name whose folder
    is, or became, a symlink is left: what it leads to was not shown."""
    root = os.path.realpath(root)
    gone: List[bytes] = []
    errors: List[str] = []
    parents: Set[bytes] = set()
    for name in names:
        path = os.path.join(root, name)
        if os.path.realpath(os.path.dirname(path)) != os.path.dirname(path):
            continue
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        except OSError as error:
            errors.append(f"{os.fsdecode(name)}: {error.strerror}")
            continue
        gone.append(name)
        parts = name.split(b"/")
        parents.update(b"/".join(parts[:n]) for n in range(1, len(parts)))
    for name in folders:
        path = os.path.join(root, name)
        if os.path.realpath(path) == path:
            parents.update(os.path.relpath(at, root) for at, _, _ in os.walk(path))
    for name in sorted(parents, key=len, reverse=True):
        try:
            os.rmdir(os.path.join(root, name))
        except OSError:
            continue  # something else lives there
    return gone, errors

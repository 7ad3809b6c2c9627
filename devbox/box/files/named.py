"""What is done with exactly the files that the laptop names: `files digest` and `files delete`."""

from __future__ import annotations

import hashlib
import os
import sys
from typing import Iterator, List, Set

from devbox.box.files.walk import inner_names
from devbox.wire.codec import encode
from devbox.wire.files import Deleted, DeleteFiles, DigestFiles, Digests


def digest(request: DigestFiles) -> Iterator[bytes]:
    """Their content hashes."""
    found = {}
    for name in inner_names(request.names):
        path = os.path.join(os.fsencode(request.root), name)
        content = hashlib.blake2b(digest_size=16)
        try:
            with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as stream:
                for block in iter(lambda: stream.read(1 << 20), b""):
                    content.update(block)
        except OSError:
            continue
        found[name.decode("latin-1")] = content.hexdigest()
    yield encode(Digests(found))


def delete(request: DeleteFiles) -> Iterator[bytes]:
    """Delete them. A name whose folder became a symlink is left."""
    root = os.path.realpath(os.fsencode(request.root))
    gone: List[str] = []
    parents: Set[bytes] = set()
    for name in inner_names(request.names):
        path = os.path.join(root, name)
        if os.path.realpath(os.path.dirname(path)) != os.path.dirname(path):
            continue
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        except OSError as error:
            print(f"{os.fsdecode(name)}: {error.strerror}", file=sys.stderr)
            continue
        gone.append(name.decode("latin-1"))
        parts = name.split(b"/")
        parents.update(b"/".join(parts[:n]) for n in range(1, len(parts)))
    for name in inner_names(request.folders):
        path = os.path.join(root, name)
        if os.path.realpath(path) == path:
            parents.update(os.path.relpath(at, root) for at, _, _ in os.walk(path))
    for name in sorted(parents, key=len, reverse=True):
        try:
            os.rmdir(os.path.join(root, name))
        except OSError:
            continue  # something else lives there
    yield encode(Deleted(tuple(gone)))

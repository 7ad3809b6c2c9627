"""Which folder here goes with which folder on a box, and the locks of their syncs."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from devbox import spec
from devbox.errors import Conflict, UsageError
from devbox.model import Box, BoxState
from devbox.remote import preconditions
from devbox.sync.baseline import folder
from devbox.text import clean
from devbox.workspace import Workspace

#: How long a sync waits for another one of the same box and direction, seconds.
WAIT = 30.0
_POLL = 0.05


class Place(NamedTuple):
    """root: the local folder, with symlinks resolved. folder: the one on the box, absolute or
    relative to the login folder. sync: the rules in force."""

    root: Path
    folder: str
    sync: spec.Sync


def find(ws: Workspace, box: Box) -> Place:
    """Where `box` syncs: in its own project's folder, by that devbox.toml as it is now, which wins
    over the one it was made with.

    UsageError when that folder is not known, and for a root that is the whole home folder or disk.
    Conflict and NotFound for a box that is not running (see `ssh.ready.check_running`).
    """
    # A pause and a down fetch the files first: the box still runs then.
    if box.state not in (BoxState.PAUSING, BoxState.STOPPING):
        preconditions.check_running(box)
    project = ws.project_of(box)
    known = box.name in project.boxes
    sync = project.box(box.name)[1].sync if known else spec.decode_box(box.spec).sync
    root = Path(os.path.realpath(project.root / Path(sync.path).expanduser()))
    if root in (Path(root.anchor), Path(os.path.realpath(Path.home()))):
        raise UsageError(
            f"refusing to sync all of {root}",
            fix="set sync.path in devbox.toml to the project's folder",
        )
    return Place(root, str(PurePosixPath(box.workdir) / sync.remote), sync)


def inside(place: Place, paths: tuple[str, ...]) -> list[bytes]:
    """Paths a user named, relative to the current folder or absolute, as paths relative to
    the root. UsageError for one outside it."""
    out: list[bytes] = []
    for text in paths:
        if "\0" in text:
            raise UsageError("a path cannot hold a NUL byte")
        # Only the folder is resolved: the path itself may be a symlink that is synced as one.
        given = Path(text).absolute()
        full = Path(os.path.realpath(given.parent)) / given.name
        if given.name in ("", ".."):
            full = Path(os.path.realpath(given))
        if not full.is_relative_to(place.root):
            raise UsageError(
                f"{clean(text, 120)!r} is not inside the synced folder {place.root}",
                fix="sync.path in devbox.toml says what is synced",
            )
        out.append(os.fsencode(full.relative_to(place.root)))
    return out


@contextmanager
def locked(box: Box, direction: str) -> Iterator[None]:
    """One sync of a box in a direction ('up' or 'down') at a time. Conflict after WAIT s."""
    # flock itself, because `filelock` takes longer to import than an idle sync may add.
    handle = os.open(folder() / f"{box.id}.{direction}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        until = time.monotonic() + WAIT
        while not _taken(handle):
            if time.monotonic() > until:
                raise Conflict(
                    f"another sync {direction} of box {box.name} is running",
                    means="this one changed nothing",
                    fix="wait for it to end, or end it with Ctrl-C where it runs",
                )
            time.sleep(_POLL)
        yield
    finally:
        os.close(handle)


def _taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

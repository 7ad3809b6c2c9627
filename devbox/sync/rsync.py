"""`sync up` and `sync down`: real rsync in both directions, with nobody's work overwritten.

Up is one rsync run with --update: a file that is newer on the box stays and is reported. Down
asks the box for its list first, then fetches exactly what it decided on: a file that was changed
here since the last sync stays and is reported. Neither deletes anything unless asked, and then
exactly the files that were shown, however the trees change meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from devbox.model import Box
from devbox.sync import target
from devbox.text import clean
from devbox.workspace import Workspace

if TYPE_CHECKING:
    from devbox.sync.progress import Progress


class Options(NamedTuple):
    """paths: only these, relative to the current folder. dry_run: change nothing, say what would
    be. delete: also remove on the receiving side what the other does not have; `approve` gets
    the list first and says yes or no. force: the sending side wins every difference. ignored:
    fetch also what ignore files, `exclude` and the rule on secrets leave out."""

    paths: tuple[str, ...] = ()
    dry_run: bool = False
    delete: bool = False
    approve: Callable[[tuple[str, ...]], bool] = lambda _: False
    force: bool = False
    ignored: bool = False
    on_progress: Callable[[Progress], None] | None = None
    clock: Callable[[], float] = time.monotonic


class Kept(msgspec.Struct, frozen=True):
    """A differing file that was left as it is on the receiving side, and why."""

    path: str
    why: str


class Report(msgspec.Struct, frozen=True):
    """Paths are relative to the synced folder, made harmless for a terminal. moved: sent or
    fetched, or what would be with dry_run. bytes: their sizes together. deleted: on the
    receiving side. secrets: not sent because they look like credentials. retries: how often the
    connection was lost. missing: the box has no such folder yet."""

    direction: str
    box: str
    root: str
    folder: str
    moved: tuple[str, ...] = ()
    bytes: int = 0
    deleted: tuple[str, ...] = ()
    kept: tuple[Kept, ...] = ()
    secrets: tuple[str, ...] = ()
    seconds: float = 0.0
    retries: int = 0
    dry_run: bool = False
    missing: bool = False


def up(ws: Workspace, box: Box, options: Options | None = None) -> Report:
    """Send what changed here. Raises SyncError, SshError, Conflict (another sync up runs, or the
    box does not), UsageError; after any of them, and after Ctrl-C, every file on the box is
    whole."""
    from devbox.sync.push import Push

    where = target.find(ws, box)
    with target.locked(box, "up"):
        return Push(ws, box, where, options or Options()).run()


def down(ws: Workspace, box: Box, options: Options | None = None) -> Report:
    """Fetch what changed on the box. Raises as `up`."""
    from devbox.sync.pull import Pull

    where = target.find(ws, box)
    with target.locked(box, "down"):
        return Pull(ws, box, where, options or Options()).run()


def shown(paths: Iterable[bytes]) -> tuple[str, ...]:
    """Names as a user may read them: one line each, no control characters, valid unicode."""
    return tuple(
        clean(path.decode(errors="replace").replace("\n", "␤").replace("\t", "␉"), 1000)
        for path in paths
    )


def kept(found: Mapping[bytes, str]) -> tuple[Kept, ...]:
    return tuple(Kept(shown([path])[0], why) for path, why in sorted(found.items()))

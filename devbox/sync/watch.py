"""`sync watch`: every save goes to the box at once.

The watcher starts before the first full sync, so nothing saved meanwhile is missed; what is saved
while the box cannot be reached goes up when it can again. Deletions travel only when asked for.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from watchfiles import Change
from watchfiles import watch as watch_files

from devbox.errors import DevboxError, SshError, SyncError
from devbox.ignore import tree
from devbox.ignore.rules import Rules
from devbox.ignore.tree import Tree
from devbox.model import Box
from devbox.remote import refusal
from devbox.sync import compare, remote, rsync_process, target
from devbox.sync.push import Push, tell
from devbox.sync.rsync import Options, shown, up
from devbox.sync.target import Place
from devbox.workspace import Workspace

#: Changes that come within this time of each other travel together, milliseconds.
DEBOUNCE_MS = 50
_STEP_MS = 10
#: How soon a stop request is noticed, milliseconds.
_WAKE_MS = 500
_IGNORE_FILES = (b".gitignore", b".dockerignore")

Kind = Literal["ready", "sent", "deleted", "kept", "lost", "back"]
Batches = Iterator[set[tuple[Change, str]]]


class Event(NamedTuple):
    """kind: 'ready' after the first full sync; 'sent', 'deleted'; 'kept' for files deleted here
    that stay on the box; 'lost' and 'back' for the connection. seconds: from the change being
    seen to it being on the box."""

    kind: Kind
    paths: tuple[str, ...] = ()
    seconds: float = 0.0


def watch(
    ws: Workspace,
    box: Box,
    on_event: Callable[[Event], None],
    *,
    delete: bool = False,
    stopped: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Push edits until `stopped` says so (asked at least twice a second) or Ctrl-C.

    delete: a file deleted here is deleted there; what the box has besides is never touched.
    Raises what `rsync.up` raises on the first full sync; later, only what waiting cannot mend.
    """
    where = target.find(ws, box)
    try:
        batches = _batches(where.root)
        next(batches)  # from here on nothing is missed
    except OSError as error:
        raise SyncError(
            f"{where.root} cannot be watched: {error}",
            fix="raise fs.inotify.max_user_watches, or keep large folders outside the project",
        ) from error
    watching = _Watching(ws, box, where, on_event, delete, clock)
    watching.whole()
    on_event(Event("ready"))
    for batch in batches:
        if stopped():
            return
        watching.take(batch)
        watching.push(stopped)
        if not batch:
            watching.tell()


def _batches(root: Path) -> Batches:
    return watch_files(
        root,
        watch_filter=None,
        debounce=DEBOUNCE_MS,
        step=_STEP_MS,
        rust_timeout=_WAKE_MS,
        yield_on_timeout=True,
        raise_interrupt=True,
    )


class _Watching:
    def __init__(
        self,
        ws: Workspace,
        box: Box,
        where: Place,
        on_event: Callable[[Event], None],
        delete: bool,
        clock: Callable[[], float],
    ) -> None:
        self.ws, self.box, self.where, self.on_event = ws, box, where, on_event
        self.delete, self.clock = delete, clock
        self.found: Tree = tree.read(where.root, where.sync)
        self.top = os.fsencode(where.root) + b"/"
        self.changed: set[bytes] = set()
        self.untold: set[bytes] = set()
        self.behind = False

    def whole(self) -> None:
        """The full sync: at the start, after new rules, and after the connection was lost."""
        self.found = tree.read(self.where.root, self.where.sync)
        report = up(self.ws, self.box, Options())
        for kept in report.kept:
            self.ws.narrate(f"kept on {self.box.name}: {kept.path} ({kept.why})")

    def take(self, batch: Iterable[tuple[Change, str]]) -> None:
        """Note the changed paths that are in the tree and not left out."""
        for change, name in batch:
            path = os.fsencode(name).removeprefix(self.top)
            if change is Change.modified and os.path.isdir(name):
                continue  # its permissions; what is in it comes on its own
            if os.path.basename(path) in _IGNORE_FILES:
                self.behind = True
            if _keeps(self.found.rules, self.top, path):
                self.changed.add(path)

    def push(self, stopped: Callable[[], bool]) -> None:
        """Send what was noted. While the box cannot be reached it is kept, and tried again."""
        tries = 0
        while (self.changed or self.behind) and not stopped():
            try:
                self._push()
            except (SshError, SyncError) as error:
                if not _passes(error):
                    raise
                if not tries:
                    self.on_event(Event("lost", shown(sorted(self.changed))))
                    self.ws.narrate(f"{error.what}; edits are kept and go up when it is back")
                self.behind = True
                tries += 1
                self.ws.sleep(refusal.wait(tries + 1))
                continue
            if tries:
                self.on_event(Event("back"))
                self.ws.narrate(f"{self.box.name} is back; what was saved meanwhile was sent")
            tries = 0

    def tell(self) -> None:
        """In a quiet moment: let the box know which of its files came from here."""
        if not self.untold:
            return
        try:
            tell(self.box, self.where, sorted(self.untold))
        except SshError:
            self.behind = True  # the full sync after it tells too
        self.untold.clear()

    def _push(self) -> None:
        begun = self.clock()
        batch = sorted(self.changed)
        gone = [p for p in batch if not os.path.lexists(self.top + p)]
        there = sorted(set(batch) - set(gone))
        if self.behind:
            self.whole()
            self.behind = False
            self.untold.clear()
        elif there:
            self._send(there)
        if gone:
            self._gone(gone)
        self.changed.clear()
        if there:
            self.on_event(Event("sent", shown(there), self.clock() - begun))

    def _send(self, paths: list[bytes]) -> None:
        with target.locked(self.box, "up"):
            push = Push(self.ws, self.box, self.where, Options())
            sent = push.edits(self.found.rules, paths)
        for name in shown(sorted(push.blocked)):
            self.ws.narrate(f"not sent to {self.box.name}: {name} ({compare.IN_THE_WAY})")
        self.untold.update(sent.items)
        for name in shown(sorted(sent.left)):
            self.ws.narrate(f"kept on {self.box.name}: {name} (changed there)")

    def _gone(self, paths: list[bytes]) -> None:
        if not self.delete:
            self.on_event(Event("kept", shown(paths)))
            return
        listing = remote.list_files(self.box, self.where.folder, self.found.rules)
        inside = tuple(path + b"/" for path in paths)
        doomed = [p for p in listing.files if p in paths or p.startswith(inside)]
        doomed = [p for p in doomed if not os.path.lexists(self.top + p)]
        if doomed:
            self.ws.narrate(f"deleting on {self.box.name}: {', '.join(shown(sorted(doomed)))}")
            done = remote.delete(self.box, self.where.folder, sorted(doomed))
            self.on_event(Event("deleted", shown(sorted(done))))


def _keeps(rules: Rules, top: bytes, path: bytes) -> bool:
    """Whether a changed path is part of the sync. What lies behind a symlink is not."""
    full = top + path
    folder = os.path.isdir(full) and not os.path.islink(full)
    if not path or path.startswith(b"/") or not rules.keeps(path, folder=folder):
        return False
    return os.path.realpath(os.path.dirname(full)) == os.path.dirname(full)


def _passes(error: DevboxError) -> bool:
    """A lost connection may come back; a refused key or an unreadable file will not."""
    return isinstance(error, rsync_process.Lost | SshError) and not refusal.is_final(error)

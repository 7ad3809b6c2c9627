"""How much there is to send, counted beside a sync that takes long."""

from __future__ import annotations

import threading

from devbox.ignore import tree
from devbox.sync.baseline import Stamp
from devbox.sync.target import Place

#: A sync shorter than this shows no total, seconds.
_COUNT_AFTER = 0.5


class Pending:
    """How many bytes there are to send, counted beside rsync: the files that changed since the
    last sync, as far as times tell. Begins after a while, so that a short sync pays nothing."""

    def __init__(self, where: Place, since: Stamp, *, wanted: bool) -> None:
        self.where, self.since, self.wanted = where, since, wanted
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._count, daemon=True)
        self.found: int | None = None

    def __enter__(self) -> Pending:
        if self.wanted:
            self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()

    def total(self) -> int | None:
        return self.found

    def _count(self) -> None:
        if self.done.wait(_COUNT_AFTER):
            return
        files = tree.read(self.where.root, self.where.sync, files=True).files
        self.found = sum(
            entry.size
            for path, entry in files.items()
            if self.since.is_first or self.since.changed_here(path, entry)
        )

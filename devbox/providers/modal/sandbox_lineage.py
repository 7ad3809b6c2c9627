"""Which sandbox a handle means now.

A box goes through generations: a pause ends its sandbox and a resume starts another one with the
same token. The newest one that carries the token is the box, whichever of them a handle names, so
that a lost reply, a second computer or an old handle all lead to the same place.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from devbox.errors import Gone
from devbox.providers.modal import record
from devbox.providers.modal.launch import LONGEST
from devbox.providers.modal.record import ENDED, Record
from devbox.providers.modal.sandboxes import KEPT, Sandboxes

#: seconds a box can be of use: its longest life, then its snapshot's
HORIZON = LONGEST + KEPT + 3600.0
#: seconds after its end in which Modal is asked for its files before those of a pause are taken
_TELLS = 3600.0


class Generations:
    """Looks up sandboxes by handle, token and name. Safe from several threads. clock: () → unix
    seconds."""

    def __init__(self, sandboxes: Sandboxes, clock: Callable[[], float] = time.time) -> None:
        self._sandboxes = sandboxes
        self._clock = clock
        self._tokens: dict[str, str] = {}
        self._left: dict[str, str | None] = {}

    def all(self, handle: str) -> list[Record]:
        """Every generation of the handle's box, newest first; empty when Modal knows none."""
        sandbox, _ = record.parse(handle)
        token = self._tokens.get(sandbox)
        tags = None
        if token is None:
            try:
                tags = self._sandboxes.tags(sandbox)
            except Gone:
                return []
            token = tags.get("devbox-token", "")
        if not token:
            return []  # someone else's sandbox
        found = self.of_token(token)
        if not any(each.id == sandbox for each in found):
            try:
                tags = self._sandboxes.tags(sandbox) if tags is None else tags
                unlisted = self._sandboxes.unlisted(sandbox, tags)
            except Gone:
                return found
            if not unlisted.ours:
                return []
            found.insert(0, unlisted)
        self._tokens[sandbox] = token
        return found

    def current(self, handle: str) -> Record | None:
        """The newest generation; None when Modal knows none."""
        return next(iter(self.all(handle)), None)

    def of_token(self, token: str) -> list[Record]:
        """Every generation of one box, newest first, however old."""
        return _newest_first(self._sandboxes.listed(token=token))

    def boxes(self, **tags: str) -> list[Record]:
        """The newest generation of every box with these tags (`name="b"` is devbox-name)."""
        since = self._clock() - HORIZON
        newest: dict[str, Record] = {}
        for each in _newest_first(self._sandboxes.listed(since=since, **tags)):
            newest.setdefault(each.token, each)
        return list(newest.values())

    def running(self, name: str) -> Record | None:
        """The box of that name whose sandbox runs or is on its way; Modal allows one. Someone
        else's sandbox of that name comes without our tags."""
        sandbox = self._sandboxes.named(name)
        if sandbox is None:
            return None
        found = self.current(sandbox)
        if found is not None:
            return found
        try:
            return self._sandboxes.unlisted(sandbox, self._sandboxes.tags(sandbox))
        except Gone:
            return None

    def image(self, found: Record) -> str | None:
        """The image with the newest files of a finished sandbox. Empty while Modal has not told;
        None when there is none.

        That is the snapshot of its pause, where the pause ended it. Where the pause was cut off
        before that, the sandbox may have written more files: then it is the image that Modal made
        at its end, and the snapshot only when there is no such image.
        """
        if found.state == ENDED or found.whole:
            return found.image or None
        left = self._at_end(found)
        if not found.image:
            return left
        if left == "" and self._clock() - (found.ended or math.inf) < _TELLS:
            return left
        return left if left and self._sandboxes.has_image(left) else found.image

    def _at_end(self, found: Record) -> str | None:
        if found.id not in self._left:
            left = (
                self._started_from(found)
                if found.untouched
                else self._sandboxes.exit_snapshot(found.id)
            )
            if left == "":
                return left
            self._left[found.id] = left
        return self._left[found.id]

    def _started_from(self, found: Record) -> str | None:
        """The snapshot that a resume started it from; None for a first generation."""
        earlier = any(each.id != found.id for each in self.of_token(found.token))
        return found.base if earlier and found.base else None


def _newest_first(found: list[Record]) -> list[Record]:
    return sorted(found, key=lambda each: each.created, reverse=True)

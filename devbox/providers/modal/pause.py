"""The pause of a box: a snapshot of its files, its id into the tags, the end of the sandbox.

Each is a step, so that a tag or an end that has to be tried again makes no second snapshot.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from devbox.errors import DevboxError, Gone, Unavailable
from devbox.providers.base import Step
from devbox.providers.modal import record
from devbox.providers.modal.record import ENDED, PAUSED, Record
from devbox.providers.modal.sandbox_lineage import Generations
from devbox.providers.modal.sandboxes import Sandboxes
from devbox.text import clean

SOON = 1.0  # seconds until it is worth asking again
_ENDING = 60.0  # seconds that an accepted end may take before a snapshot is taken again


class Pauses:
    """clock: () → unix seconds. tell: one line of narration."""

    def __init__(
        self,
        sandboxes: Sandboxes,
        generations: Generations,
        clock: Callable[[], float],
        tell: Callable[[str], None],
    ) -> None:
        self._sandboxes, self._generations = sandboxes, generations
        self._clock, self._tell = clock, tell
        self._made: dict[str, set[str]] = {}  # sandbox → snapshots of a pause not yet at its end
        self._asked_end: dict[str, float] = {}  # sandbox → when Modal accepted its end

    def pause(self, step: Step, handle: str) -> str:
        """See `CanPause.pause_by`; the handle of the paused box."""
        found = step("look", lambda: self._generations.current(handle))
        if found is None:
            return forgotten(handle)
        if found.over or found.state == ENDED:
            return step("look", lambda: self.handle(found))
        try:
            kept = step("snapshot", lambda: self._snapshot(found))
        except Gone:
            # It ended meanwhile: by an earlier call of this whose reply was lost, or by itself.
            return step(
                "look",
                lambda: self.handle(self._generations.current(handle) or found),
            )
        made = self._made.setdefault(found.id, {found.image})
        made.add(kept)
        tags = {"devbox-state": PAUSED, "devbox-image": kept, "devbox-whole": "no"}
        step("tag", lambda: self._sandboxes.tag(found.id, tags))
        for earlier in made - {kept, found.base, ""}:
            self._drop(earlier)
        step("end", lambda: self.end(found.id))
        self._mark_whole(found.id, kept)
        del self._made[found.id]
        return record.handle(found.id, kept)

    def is_ending(self, found: Record) -> bool:
        """Whether Modal accepted its end a moment ago."""
        return self._clock() - self._asked_end.get(found.id, -math.inf) <= _ENDING

    def handle(self, found: Record) -> str:
        """The handle of a finished sandbox with files; Gone when there are none. Unavailable for
        one that is still ending: what it leaves is known when it has ended."""
        if not found.over and found.state != ENDED:
            raise still(found)
        kept = self._generations.image(found) if found.over else None
        if kept == "":
            raise Unavailable(f"Modal is still saving the files of {found.name}", retry_after=SOON)
        if not kept:
            raise ended(found)
        return record.handle(found.id, kept)

    def end(self, sandbox: str) -> None:
        """End a sandbox; one that is gone is fine."""
        try:
            self._sandboxes.terminate(sandbox)
        except Gone:
            return  # why: gone is what was wanted
        self._asked_end[sandbox] = self._clock()

    def _snapshot(self, found: Record) -> str:
        """An image of its files. One that never ran has none but those it was to start from."""
        if not found.scheduled and found.base:
            return found.base
        self._tell(f"{found.name}: saving its files as a snapshot; a large disk takes minutes")
        return self._sandboxes.snapshot(found.id)

    def _mark_whole(self, sandbox: str, image: str) -> None:
        """Tag a sandbox as ended by the pause that took this snapshot."""
        try:
            self._sandboxes.tag(sandbox, {"devbox-whole": image})
        except DevboxError:
            return  # why: the pause is done; without the tag Modal is asked for its exit snapshot

    def _drop(self, image: str) -> None:
        """Delete a snapshot that a later one has replaced."""
        try:
            self._sandboxes.delete_image(image)
        except DevboxError:
            return  # why: it costs no box anything, and Modal deletes it after 30 days


def forgotten(handle: str) -> str:
    """A paused box whose sandbox Modal lists no more: its handle has the snapshot."""
    if record.parse(handle)[1]:
        return handle
    raise Gone(f"Modal does not know {clean(handle, 60)}", fix="see: devbox ls --refresh")


def still(found: Record) -> Unavailable:
    """To raise for a sandbox whose end is not over yet."""
    return Unavailable(f"{found.name} is still ending at Modal", retry_after=SOON, no_effect=True)


def ended(found: Record) -> Gone:
    """To raise for a sandbox that left no files."""
    return Gone(
        f"{found.name} has ended, and Modal has no files of it",
        means="it costs nothing",
        fix=f"devbox up {found.name} makes a new one",
    )

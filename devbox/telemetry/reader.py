"""The reading side of one box's stream, without any I/O: which command to run next, and what the
lines that came mean. `client` and `live` do the I/O.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from devbox.remote import agent_bootstrap
from devbox.wire.codec import Unreadable, decode
from devbox.wire.messages import BoxEvent, EventLine, Heartbeat, Sample

Position = tuple[str, int]


class Unread(NamedTuple):
    """A line that is not a message as it should be, and was dropped; told once a connection."""

    why: str


Message = Sample | BoxEvent | Heartbeat | Unread

#: seconds without a byte after which a stream is dead; the box sends one every 10 at least
SILENCE = 30.0
_BOOTS = 64  # runs of a sampler remembered, so that none comes twice


def parse(line: bytes) -> Sample | BoxEvent | Heartbeat:
    """One line of a stream. Unreadable says why it is not one."""
    found: Sample | EventLine | Heartbeat = decode(line, Sample, EventLine, Heartbeat)
    return found.event if isinstance(found, EventLine) else found


class Reader:
    """Keeps the place in a box's stream over any number of connections.

    after: the last sample the caller has. history: seconds to start back, when `after` is None.
    """

    def __init__(
        self, *, after: Position | None = None, history: float = 0.0, follow: bool = True
    ) -> None:
        self._history, self._follow = history, follow
        self._position = after
        self._past: list[str] = []
        self._event: int | None = None
        self._box_time: float | None = None
        self.heard = self._told = False

    def words(self) -> list[str]:
        """The command of the box half that continues where the stream was cut."""
        self.heard = self._told = False
        options = ["--follow"] if self._follow else []
        if self._position:
            options += ["--after", "{}:{}".format(*self._position)]
        elif self._history:
            options += ["--history", f"{self._history:g}"]
        if self._event is not None:
            options += ["--events-after", str(self._event)]
        elif self._box_time is not None:
            options += ["--events-since", f"{self._box_time:.3f}"]
        return agent_bootstrap.command("stream", *options)

    def feed(self, line: bytes) -> Iterator[Message]:
        """What a line holds: a sample or event that has not come before, or something else."""
        try:
            message = parse(line)
        except Unreadable as error:
            if line.startswith(b"{") and not self._told:  # not what a login prints
                self._told = True
                yield Unread(f"a line of the box could not be read: {error}")
            return
        self.heard = True
        if isinstance(message, Sample):
            if not self._advance(message):
                return
            self._box_time = message.t
        elif isinstance(message, BoxEvent):
            if self._event is not None and message.seq <= self._event:
                return
            self._event = message.seq
        else:
            self._box_time = message.hb
        yield message

    def _advance(self, sample: Sample) -> bool:
        """Whether a sample is new; then it is our place."""
        if self._position and sample.boot == self._position[0]:
            new = sample.seq > self._position[1]
        else:
            new = sample.boot not in self._past
            if new and self._position:
                self._past = [*self._past, self._position[0]][-_BOOTS:]
        if new:
            self._position = sample.position
        return new

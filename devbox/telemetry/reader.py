"""The reading side of one box's stream, without any I/O: which command to run next, what the
bytes that came mean, and how long to wait after a cut. `client` and `cells` do the I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from devbox.errors import NameUnknown, SshError
from devbox.model import Box
from devbox.remote import agent_bootstrap, refusal
from devbox.text import clean
from devbox.wire.codec import MAX_LINE, Unreadable, decode
from devbox.wire.messages import BoxEvent, EventLine, Heartbeat, Sample

Position = tuple[str, int]


class Unread(NamedTuple):
    """A line that is not a message as it should be, and was dropped; told once a connection."""

    why: str


Message = Sample | BoxEvent | Heartbeat | Unread

#: seconds without a byte after which a stream is dead; the box sends one every 10 at least
SILENCE = 30.0
_SHORT = 2.0  # seconds; a connection that ends sooner did not work, whatever was heard on it
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
        self, box: Box, *, after: Position | None = None, history: float = 0.0, follow: bool = True
    ) -> None:
        self.box = box
        self._history, self._follow = history, follow
        self._position = after
        self._past: list[str] = []
        self._event: int | None = None
        self._box_time: float | None = None
        self._rest = b""
        self._overlong = False
        self._failures = 0
        self._heard = self._told = False

    def words(self) -> list[str]:
        """The command of the box half that continues where the stream was cut."""
        self._rest, self._overlong, self._heard, self._told = b"", False, False, False
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

    def feed(self, data: bytes) -> Iterator[Message]:
        """What new bytes hold, each sample and event once."""
        *lines, rest = (self._rest + data).split(b"\n")
        if self._overlong and lines:
            lines.pop(0)
            self._overlong = False
        self._rest = rest
        if len(rest) > MAX_LINE:
            self._rest, self._overlong = b"", True
        yield from self._fresh(lines)

    def ended(self, code: int | None, err: str, lasted: float) -> float:
        """The connection ended after `lasted` seconds, with ssh's exit code (None: we cut it).
        Returns the seconds to wait before the next; SshError when trying again cannot help."""
        if not self._heard:
            self._check(code, err)
        worked = self._heard and lasted >= _SHORT
        self._failures = 1 if worked else self._failures + 1
        return refusal.wait(self._failures)

    def lost(self, err: str) -> SshError:
        """What to raise when the caller will not try again."""
        text = clean(err.strip()[-400:], 400)
        return SshError(
            f"the telemetry of {self.box.name} cannot be reached" + (f": {text}" if text else ""),
            fix=f"devbox status {self.box.name}",
        )

    def _check(self, code: int | None, err: str) -> None:
        refused = refusal.error(self.box, err, means="nothing on the box changed")
        nameless = isinstance(refused, NameUnknown) and self._box_time is None
        if code == refusal.FAILED and (nameless or refusal.is_final(refused)):
            raise refused
        if code in (1, 2, 126, 127):
            raise SshError(
                f"devbox's program on {self.box.name} does not run: "
                + (clean(err.strip()[-400:], 400) or f"code {code}"),
                means="the box is not watched by it; its provider's own timeout still holds",
                fix=f"put it back with: devbox up {self.box.name}",
            )

    def _fresh(self, lines: Iterable[bytes]) -> Iterator[Message]:
        for line in lines:
            try:
                message = parse(line)
            except Unreadable as error:
                if line.startswith(b"{") and not self._told:  # not what a login prints
                    self._told = True
                    yield Unread(f"a line of the box could not be read: {error}")
                continue
            self._heard = True
            if isinstance(message, Sample):
                if not self._advance(message):
                    continue
                self._box_time = message.t
            elif isinstance(message, BoxEvent):
                if self._event is not None and message.seq <= self._event:
                    continue
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

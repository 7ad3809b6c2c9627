"""A box's telemetry as an iterator, over as many ssh connections as it takes.

for sample in open_stream(box, history=60):
    print(sample.cpu.util)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import closing

from devbox.errors import SshError
from devbox.model import Box
from devbox.remote import stream
from devbox.telemetry.reader import SILENCE, Message, Position, Reader
from devbox.text import clean
from devbox.wire.messages import Sample


def open_stream(
    box: Box,
    *,
    after: Position | None = None,
    history: float = 0.0,
    follow: bool = True,
    attempts: int | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Generator[Sample, None, None]:
    """Samples of a box in order, each once; see `messages`."""
    found = messages(
        box, after=after, history=history, follow=follow, attempts=attempts, sleep=sleep
    )
    with closing(found):
        for message in found:
            if isinstance(message, Sample):
                yield message


def messages(
    box: Box,
    *,
    after: Position | None = None,
    history: float = 0.0,
    follow: bool = True,
    attempts: int | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Generator[Message, None, None]:
    """Samples, events and heartbeats of a box, each sample and event once.

    after: resume behind that sample (all that is stored, when the box no longer has it).
    history: else start that many seconds back. follow: continue for ever, and after a cut connect
    again (waits of 0 to 15 s by `sleep`) and continue where it was cut. Without follow it ends when
    everything stored was sent. attempts: failed connections in a row after which SshError is
    raised (None: never). SshError at once where trying again cannot help. Closing the iterator
    ends its ssh process, and with it the process on the box.
    """
    reader = Reader(after=after, history=history, follow=follow)

    def cut(end: stream.Cut) -> tuple[()]:
        if attempts is not None and end.failures >= attempts:
            raise lost(box, end.err)
        return ()

    def over(code: int | None) -> bool:
        return code == 0 and not follow

    yield from stream.resumed(lambda: box, reader, silence=SILENCE, over=over, cut=cut, sleep=sleep)


def lost(box: Box, err: str) -> SshError:
    """The error for telemetry that is not tried again."""
    said = clean(err.strip()[-400:], 400)
    return SshError(
        f"the telemetry of {box.name} cannot be reached" + (f": {said}" if said else ""),
        fix=f"devbox status {box.name}",
    )

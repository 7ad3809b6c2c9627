"""A box's telemetry as an iterator, over as many ssh connections as it takes.

for sample in open_stream(box, history=60):
    print(sample.cpu.util)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import closing, suppress

from devbox.model import Box
from devbox.remote.exec import GUEST, Program
from devbox.telemetry.reader import SILENCE, Message, Position, Reader
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
    reader = Reader(box, after=after, history=history, follow=follow)
    failed = 0
    while True:
        began = time.monotonic()
        with Program(box, reader.words(), options=GUEST) as program:
            with suppress(TimeoutError):
                for data in program.chunks(silence=SILENCE):
                    for message in reader.feed(data):
                        failed = 0
                        yield message
            code = program.close()
        if code == 0 and not follow:
            return
        wait = reader.ended(code, program.err, time.monotonic() - began)
        failed += 1
        if attempts is not None and failed >= attempts:
            raise reader.lost(program.err)
        sleep(wait)

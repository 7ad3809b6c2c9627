"""Both output streams of a running paramiko channel in one loop, and its stdin beside it."""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import paramiko

_BLOCK = 256 * 1024
_STEP = 5.0  # seconds between looks at a silent channel, should a wake-up be lost


def chunks(
    channel: paramiko.Channel, deadline: float | None
) -> Iterator[tuple[Literal["out", "err"], bytes]]:
    """What the program prints, as it comes, until it has ended and everything is read.

    deadline: time.monotonic() value after which TimeoutError is raised; None: never.
    """
    while True:
        # Looked at first: what arrived before the end is then surely read below.
        ended = channel.closed or (channel.eof_received and channel.exit_status_ready())
        while channel.recv_ready():
            yield "out", channel.recv(_BLOCK)
        while channel.recv_stderr_ready():
            yield "err", channel.recv_stderr(_BLOCK)
        if ended:
            return
        step = _STEP if deadline is None else min(_STEP, deadline - time.monotonic())
        if step <= 0:
            raise TimeoutError
        if channel.eof_received:
            # The streams are at their end, which select would report at once and for ever.
            channel.status_event.wait(step)
        else:
            select.select([channel], [], [], step)


def feed(channel: paramiko.Channel, data: bytes) -> None:
    """Send all of stdin and close it, in the background, so that a program that prints before it
    has read everything never waits for us while we wait for it."""

    def send() -> None:
        # A program may end, or the connection be cut, before it has read everything: the reader
        # of its output sees that and tells.
        with suppress(OSError, EOFError):
            channel.sendall(data)
            channel.shutdown_write()

    if data:
        threading.Thread(target=send, name="devbox-stdin", daemon=True).start()
    else:
        channel.shutdown_write()

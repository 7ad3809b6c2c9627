"""A box's telemetry as an iterator, over as many ssh connections as it takes.

for sample in open_stream(box, history=60):
    print(sample.cpu.util)
"""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing

from devbox.model import Box
from devbox.process import require
from devbox.telemetry.reader import SILENCE, Position, Reader
from devbox.telemetry.sample import Message, Sample

_KEPT_ERR = 4096


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
    history: else start that many seconds back. follow: go on for ever, and after a cut connect
    again (waits of 0 to 15 s by `sleep`) and go on where it was cut. Without follow it ends when
    everything stored was sent. attempts: failed connections in a row after which SshError is
    raised (None: never). SshError at once where trying again cannot help. Closing the iterator
    ends its ssh process, and with it the process on the box.
    """
    reader = Reader(box, after=after, history=history, follow=follow)
    failed = 0
    while True:
        link = _Link([require("ssh"), *reader.argv()[1:]])
        try:
            for data in link.chunks():
                for message in reader.feed(data):
                    failed = 0
                    yield message
        finally:
            code = link.end()
        if code == 0 and not follow:
            return
        wait = reader.ended(code, link.err)
        failed += 1
        if attempts is not None and failed >= attempts:
            raise reader.lost(link.err)
        sleep(wait)


class _Link:
    """One ssh process. Its stdin stays open: that is what keeps the other end alive."""

    def __init__(self, argv: list[str]) -> None:
        self.err = b""
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def chunks(self) -> Iterator[bytes]:
        """What it prints as it comes; ends when it closes stdout or is silent for too long."""
        out, err = self._process.stdout, self._process.stderr
        assert out
        assert err
        with selectors.DefaultSelector() as ready:
            ready.register(out, selectors.EVENT_READ)
            ready.register(err, selectors.EVENT_READ)
            heard = time.monotonic()
            while (left := heard + SILENCE - time.monotonic()) > 0:
                for key, _ in ready.select(left):
                    data = os.read(key.fd, 1 << 16)
                    if not data:
                        ready.unregister(key.fileobj)
                        if key.fileobj is out:
                            return
                    elif key.fileobj is err:
                        self.err = (self.err + data)[-_KEPT_ERR:]
                    else:
                        heard = time.monotonic()
                        yield data

    def end(self) -> int | None:
        """Its exit code; None when it had to be stopped."""
        process = self._process
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()
        try:
            code: int | None = process.wait(0.5)
        except subprocess.TimeoutExpired:
            code = None
            process.terminate()
            try:
                process.wait(2)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stderr:
            os.set_blocking(process.stderr.fileno(), False)
            # never to its end: a shared connection in the background may hold it open
            self.err = (self.err + (process.stderr.read(_KEPT_ERR) or b""))[-_KEPT_ERR:]
            process.stderr.close()
        return code

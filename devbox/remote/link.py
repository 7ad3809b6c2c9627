"""A long-lived program on a box, read line by line over the ssh client and its shared connection.

Its stdin stays open for as long as someone reads: the box half ends a stream when that closes.
"""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from collections.abc import Iterator, Sequence

from devbox.process import require

_BLOCK = 1 << 16
_KEPT_ERR = 4096  # bytes of stderr kept, its end
MAX_LINE = 1 << 20  # bytes; the rest of a longer line is dropped, not buffered


class Link:
    """One ssh process, such as `ssh.command.argv` starts. `err` keeps the end of its stderr."""

    def __init__(self, argv: Sequence[str]) -> None:
        self.err = b""
        self._process = subprocess.Popen(
            [require(argv[0]), *argv[1:]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def lines(self, silence: float) -> Iterator[bytes]:
        """Lines as they come, without their newline; ends as `chunks`."""
        rest = b""
        for data in self.chunks(silence):
            *whole, rest = (rest + data).split(b"\n")
            yield from whole
            rest = rest[: MAX_LINE + 1]

    def chunks(self, silence: float) -> Iterator[bytes]:
        """What it prints as it comes; ends when the program closes stdout, or has said nothing
        for `silence` seconds."""
        out, err = self._process.stdout, self._process.stderr
        assert out
        assert err
        with selectors.DefaultSelector() as ready:
            ready.register(out, selectors.EVENT_READ)
            ready.register(err, selectors.EVENT_READ)
            heard = time.monotonic()
            while (left := heard + silence - time.monotonic()) > 0:
                for key, _ in ready.select(left):
                    data = os.read(key.fd, _BLOCK)
                    if not data:
                        ready.unregister(key.fileobj)
                        if key.fileobj is out:
                            return
                    elif key.fileobj is err:
                        self.err = (self.err + data)[-_KEPT_ERR:]
                    else:
                        heard = time.monotonic()
                        yield data

    def close(self) -> int | None:
        """End it; its exit code (255: ssh itself failed), None when it had to be stopped."""
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
            # Never to its end: a shared connection in the background may hold it open.
            self.err = (self.err + (process.stderr.read(_KEPT_ERR) or b""))[-_KEPT_ERR:]
            process.stderr.close()
        return code

"""What a library prints, into a file as well: at the level of descriptors, so that native code and
child processes are in it too."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Iterator, List

_PIECE = 1 << 16


@contextmanager
def tee(path: Path) -> Iterator[None]:
    """Append what this process writes to stdout and stderr to `path` while the block runs. A full
    disk ends the copy, not the block."""
    sys.stdout.flush()
    sys.stderr.flush()
    before = os.dup(1), os.dup(2)
    source, sink = os.pipe()
    copier = threading.Thread(target=_copy, args=(source, os.dup(1), path), daemon=True)
    copier.start()
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    os.close(sink)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(before[0], 1)
        os.dup2(before[1], 2)
        # A child that outlives the block would hold the pipe open: what it says is not waited for.
        copier.join(5)
        for number in before:
            os.close(number)


def _copy(source: int, through: int, path: Path) -> None:
    with open(source, "rb", buffering=0) as stream, open(through, "wb", buffering=0) as log:
        sinks: List[BinaryIO] = [log]
        with suppress(OSError):
            sinks.append(path.open("ab", buffering=0))
        while piece := stream.read(_PIECE):
            for sink in list(sinks):
                try:
                    sink.write(piece)
                except OSError:
                    sinks.remove(sink)  # nobody reads the log any more, or the disk is full
        for sink in sinks:
            sink.close()

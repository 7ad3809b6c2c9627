"""What a verb does that shows something until it is told to stop: `top`, `logs -f`, `run`, `sync
watch`, `forward`. The one place that says what ends it.

Ctrl-C does, also where SIGINT was ignored before we began (a background job of a script, `nohup`).
So does the end of what it shows things on: a terminal that was closed, a pipe that nobody reads.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TextIO

Handler = Callable[[int, FrameType | None], object]


@contextmanager
def following(shown: TextIO | None = None) -> Iterator[None]:
    """shown: the stream that what follows is shown on, stdout unless told. Inside, Ctrl-C and
    SIGTERM raise KeyboardInterrupt; a closed terminal or pipe comes out as BrokenPipeError."""
    stream = sys.stdout if shown is None else shown
    gone = threading.Event()

    def hung_up(*_: object) -> None:
        gone.set()
        signal.raise_signal(signal.SIGINT)

    signals: list[tuple[signal.Signals, Handler]] = [(signal.SIGINT, signal.default_int_handler)]
    signals.append((signal.SIGTERM, signal.default_int_handler))
    if stream.isatty():  # else `nohup` has said that it is to outlive the terminal
        signals.append((signal.SIGHUP, hung_up))
    before = [(number, signal.signal(number, action)) for number, action in signals]
    stop, stopping = os.pipe()
    shown_on = _descriptor(stream)
    watcher = threading.Thread(target=_watch, args=(shown_on, stop, gone), daemon=True)
    watcher.start()
    try:
        yield
    except (KeyboardInterrupt, OSError) as error:
        # A terminal that is gone answers a write with EIO.
        if gone.is_set() or isinstance(error, BrokenPipeError):
            raise BrokenPipeError from None
        raise
    finally:
        os.close(stopping)
        watcher.join()
        os.close(stop)
        for number, action in before:
            signal.signal(number, action or signal.SIG_DFL)


def _descriptor(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError):
        return None  # why: closed, or no file at all: there is nothing to watch


def _watch(shown: int | None, stop: int, gone: threading.Event) -> None:
    """Until `stop` is closed: end this process's main thread when `shown` has no reader left."""
    poll = select.poll()
    poll.register(stop, 0)  # an error or a hang-up is told unasked
    if shown is not None:
        poll.register(shown, 0)
    if any(descriptor == stop for descriptor, _ in poll.poll()):
        return
    gone.set()
    os.kill(os.getpid(), signal.SIGINT)

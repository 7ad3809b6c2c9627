"""The progress line of a transfer."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from devbox.cli import common
from devbox.text import clean, duration, size
from devbox.text_layout import fit

if TYPE_CHECKING:
    from devbox.sync.progress import Progress


@contextmanager
def transfer(quiet: bool = False) -> Iterator[Callable[[Progress], None] | None]:
    """What to call with the progress: a line that is redrawn on a terminal, else one every few
    seconds. None when quiet."""
    redraws, events = common.is_interactive(), common.events
    every = 0.1 if redraws else 0.2 if events else 5.0
    due = time.monotonic() + every
    drawn = False

    def show(now: Progress) -> None:
        nonlocal due, drawn
        if time.monotonic() < due:
            return
        due = time.monotonic() + every
        text = progress_text(now)
        if events:
            events.write(progress=[now.bytes_done, now.bytes_total], note=text)
        elif redraws:
            width = shutil.get_terminal_size().columns - 1
            drawn = True
            sys.stderr.write("\r" + fit(text, width))
            sys.stderr.flush()
        else:
            common.narrate(text)

    try:
        yield None if quiet else show
    finally:
        if drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def progress_text(now: Progress) -> str:
    """'1.2 GB of 3.0 GB (40%)  80.1 MB/s  23s left  model.pt'."""
    parts = [size(now.bytes_done)]
    if now.bytes_total:
        per_cent = 100 * now.bytes_done // now.bytes_total
        parts = [f"{size(now.bytes_done)} of {size(now.bytes_total)} ({per_cent}%)"]
    parts.append(f"{size(now.rate)}/s")
    parts += [f"{duration(now.eta)} left"] if now.eta is not None else []
    return "  ".join([*parts, clean(now.file.replace("\n", "␤"), 60)])

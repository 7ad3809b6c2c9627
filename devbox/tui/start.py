"""The dashboard on the real thing."""

from __future__ import annotations

import gc
from pathlib import Path

from devbox.tui import background, settings
from devbox.tui.app import Dashboard
from devbox.tui.live_feed import LiveFeed
from devbox.tui.operation_manager import Operations
from devbox.tui.queries import Asks


def run(start: Path, *, readonly: bool = False) -> list[str]:
    """Show it until the user leaves; returns the titles of what continues without it."""
    chosen = settings.load()
    operations = Operations(start)
    feed, asks = LiveFeed(start), Asks(start)
    # What is loaded stays: looking through it for garbage held up a key by as much as 130 ms.
    Dashboard(feed, asks, operations, chosen, readonly=readonly, loaded=gc.freeze).run()
    background.end_children(operations.pids())
    operations.poll()
    return [work.title for work in operations.running() if not work.stop]

"""The Events tab: what happened, newest first, from the journal and from the box's watchdog."""

from __future__ import annotations

import time

from devbox.tui.paint import Line, plain
from devbox.tui.panes.base import Page, Seen

_STYLES = {"warn": "warn", "warning": "warn", "state": "info", "fault": "bad", "run": "good"}


class EventsPane(Page):
    def draw(self, seen: Seen, width: int) -> list[Line]:
        assert seen.view
        box = seen.view.box
        cell = seen.feed.cell(box.id)
        rows = [(event.at, event.kind, event.message) for event in seen.feed.events(box.id)]
        rows += [(event.t, event.kind, event.message) for event in (cell.events if cell else ())]
        if not rows:
            return [[(" nothing happened yet", "dim")]]
        return [
            [
                (time.strftime(" %d %b %H:%M:%S  ", time.localtime(at)), "dim"),
                (f"{plain(kind, 12):<10} ", _STYLES.get(kind, "accent")),
                (plain(message, 1000), ""),
            ]
            for at, kind, message in sorted(rows, reverse=True)
        ]

"""The Events tab: what happened, newest first, from the journal and from the box's watchdog."""

from __future__ import annotations

from devbox.text import local_time
from devbox.text_layout import Line, plain
from devbox.tui.panes.base import Page, Seen

_STYLES = {
    "warn": "warn",
    "warning": "warn",
    "found-paused": "warn",
    "state": "info",
    "fault": "bad",
    "found-ended": "bad",
    "build-failed": "bad",
    "run-failed": "bad",
    "run": "good",
    "run-finished": "good",
}


_SAME = 5.0  # seconds within which the same words are the same event
Row = tuple[float, str, str]


class EventsPane(Page):
    def draw(self, seen: Seen, width: int) -> list[Line]:
        assert seen.view
        box = seen.view.box
        cell = seen.feed.cell(box.id)
        rows = [(event.at, event.kind, event.message) for event in seen.feed.events(box.id)]
        rows += [(event.t, event.kind, event.message) for event in (cell.events if cell else ())]
        if not rows:
            return [[(" nothing happened yet", "dim")]]
        rows = _once(sorted(rows, reverse=True))
        return [
            [
                (local_time(at, " %d %b %H:%M:%S  "), "dim"),
                (f"{plain(kind, 12):<10} ", _STYLES.get(kind, "accent")),
                (plain(message, 1000), ""),
            ]
            for at, kind, message in rows
        ]


def _once(rows: list[Row]) -> list[Row]:
    """Without those that both sides noted."""
    kept: list[Row] = []
    for row in rows:
        if not any(row[1:] == other[1:] and other[0] - row[0] < _SAME for other in kept[-5:]):
            kept.append(row)
    return kept

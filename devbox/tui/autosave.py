"""Standing by for boxes, as `devbox sync watch` does for one: when a box's watchdog warns that it
will pause it, what the sync rules name is fetched before it does. Pure."""

from __future__ import annotations

from devbox.model import Box, BoxState
from devbox.tui.feed import Feed

RECENT = 300.0  # seconds, by the box's clock; an older warning had its answer or its pause
_WARNED, _CALLED_OFF = "warning", "called-off"


class StandBy:
    """Remembers which warnings had their answer."""

    def __init__(self) -> None:
        self._answered: dict[str, float] = {}

    def look(self, feed: Feed) -> list[Box]:
        """The boxes that have warned since the last look and still mean it."""
        found = []
        for view in feed.views:
            cell = feed.cell(view.box.id)
            if cell is None or cell.sample is None or view.box.state is not BoxState.RUNNING:
                continue
            words = [e for e in cell.events if e.kind in (_WARNED, _CALLED_OFF)]
            if not words or words[-1].kind != _WARNED:
                continue
            said = words[-1].t
            if cell.sample.t - said > RECENT or said <= self._answered.get(view.box.id, 0.0):
                continue
            self._answered[view.box.id] = said
            found.append(view.box)
        return found

"""Where the panes of the selected box stand: one at a time, and on a large screen as tiles."""

from __future__ import annotations

from collections.abc import Iterable

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.geometry import Size
from textual.widget import Widget

from devbox.tui.actions import PANES
from devbox.tui.panes.cost import CostPane
from devbox.tui.panes.events import EventsPane
from devbox.tui.panes.jobs import JobsPane
from devbox.tui.panes.load import LoadPane
from devbox.tui.panes.logs import LogsPane
from devbox.tui.panes.services import ServicesPane
from devbox.tui.panes.sync import SyncPane

WIDE, TALL = 160, 30  # columns and rows of a terminal from which there are tiles
_TILES = ("load", "jobs", "logs")


def in_sight(pane: str, size: Size) -> tuple[str, ...]:
    """The panes that are shown while `pane` is the chosen one: load, jobs and logs as tiles where
    there is room; what has no tile of its own takes the place of the last two."""
    if size.width < WIDE or size.height < TALL:
        return (pane,)
    return _TILES if pane in _TILES else ("load", pane)


class Deck(Horizontal):
    """Load at the left; the others, of which the chosen one or two are shown, at its right."""

    def compose(self) -> ComposeResult:
        yield LoadPane(id="load")
        with Vertical(id="beside"):
            yield JobsPane(id="jobs")
            yield ServicesPane(id="services")
            yield LogsPane(id="logs")
            yield SyncPane(id="sync")
            yield CostPane(id="cost")
            yield EventsPane(id="events")

    def on_mount(self) -> None:
        for number, (name, title) in enumerate(PANES.items(), 1):
            self.pane(name).border_title = f"{number} {title}"

    def pane(self, name: str) -> Widget:
        return self.query_one(f"#{name}")

    def show(self, names: Iterable[str]) -> None:
        """Show exactly these."""
        shown = set(names)
        for name in PANES:
            self.pane(name).display = name in shown
        self.query_one("#beside").display = shown != {"load"}
        self.set_class(len(shown) > 1, "-tiles")

"""What every tab is given, and the tab that is one page of lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from textual.widget import Widget

from devbox.text_layout import Line
from devbox.tui.feed import BoxView, Feed, RunView
from devbox.tui.static_lines import Lines

if TYPE_CHECKING:
    from devbox.tui.operation_manager import Operations
    from devbox.tui.queries import Asks


class Seen(NamedTuple):
    """The selected box (None: there is none) and where to read about it."""

    feed: Feed
    asks: Asks
    operations: Operations
    view: BoxView | None
    now: float


class Movable(Protocol):
    """What j, k and their like move in."""

    @property
    def page(self) -> int: ...
    def move(self, rows: int) -> None: ...
    def go(self, row: int) -> None: ...


class Pane(Protocol):
    def refresh_from(self, seen: Seen) -> None:
        """Draw what is new; cheap when nothing is."""

    def opened(self, seen: Seen) -> None:
        """It came into sight, or another box was selected."""

    def closed(self) -> None:
        """It went out of sight."""

    def target(self) -> Widget:
        """What to focus in it."""

    @property
    def run_view(self) -> RunView | None:
        """The run under its cursor, where it lists runs."""


class Page(Lines):
    """A tab of lines: `draw` says what is on it."""

    _seen: Seen | None = None

    def draw(self, seen: Seen, width: int) -> list[Line]:
        raise NotImplementedError(type(self))  # why: each tab is its own page

    def refresh_from(self, seen: Seen) -> None:
        self._seen = seen
        width = max(20, self.size.width - 1)
        if seen.view is None:
            self.show([[(" no box is selected", "dim")]])
        else:
            self.show(self.draw(seen, width))

    def opened(self, seen: Seen) -> None:
        self.go(0)
        self.refresh_from(seen)

    def on_resize(self) -> None:
        """Its size is known only after it came into sight."""
        if self._seen:
            self.refresh_from(self._seen)

    def closed(self) -> None:
        """Nothing runs for it."""

    def target(self) -> Widget:
        return self

    @property
    def run_view(self) -> RunView | None:
        return None

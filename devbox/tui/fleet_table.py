"""The fleet as a table: which boxes are shown, in what order, which are marked and selected."""

from __future__ import annotations

from collections.abc import Sequence

from devbox.text_layout import Line
from devbox.tui import fleet
from devbox.tui.feed import BoxView, Feed
from devbox.tui.grid import Column, Grid

_RESORT = 2.0  # seconds: rows that jump at every sample cannot be read


class FleetTable(Grid):
    """words: the filter. marked: box ids. sorting: a column, and whether it is reversed."""

    def __init__(self, feed: Feed, *, id: str) -> None:
        super().__init__(fleet.COLUMNS, self._field, empty="no boxes: u brings one up", id=id)
        self.words = ""
        self.marked: set[str] = set()
        self.sorting: tuple[str, bool] = ("state", False)
        self._feed = feed
        self._views: dict[str, BoxView] = {}
        self._order: list[str] = []
        self._ordered_at = 0.0
        self._awaited = ""

    @property
    def view(self) -> BoxView | None:
        """The selected box."""
        return self._views.get(self.key or "")

    def targets(self) -> list[BoxView]:
        """The marked boxes, else the selected one."""
        marked = [view for view in self._feed.views if view.box.id in self.marked]
        return marked or ([self.view] if self.view else [])

    def filter_by(self, words: str) -> None:
        self.words = words
        self._ordered_at = 0.0

    def sort_on(self, column: str) -> None:
        """By that column; a second time, the other way round."""
        again = self.sorting[0] == column
        self.sorting = (column, not self.sorting[1] if again else False)
        self._ordered_at = 0.0

    def await_box(self, name: str) -> None:
        """Select that box as soon as it shows, unless the user moves before."""
        self._awaited = name

    def refresh_from(self, now: float) -> None:
        """Draw what is new."""
        self._place(now)
        self.set_columns(fleet.columns(self._feed))
        self.sort_by(*self.sorting)
        self.show(self._order)
        names = [self._views[key].box.name for key in self.keys if self._awaited]
        if self._awaited in names:
            self.go(names.index(self._awaited))
            self._awaited = ""

    def _place(self, now: float) -> None:
        """Which boxes are shown, in what order."""
        views: Sequence[BoxView] = self._feed.views
        found = fleet.chosen(views, self.words)
        self._views = {view.box.id: view for view in found}
        self.marked &= {view.box.id for view in views}
        known = [box_id for box_id in self._order if box_id in self._views]
        if len(known) == len(found) and now - self._ordered_at < _RESORT:
            self._order = known
            return
        self._ordered_at = now
        self._order = [v.box.id for v in fleet.ordered(self._feed, found, *self.sorting, now)]

    def _field(self, key: str, column: Column, width: int) -> Line:
        if key not in self._views:
            return []
        marked, now = key in self.marked, self._feed.clock()
        return fleet.cell_of(self._feed, self._views[key], column, width, now, marked)

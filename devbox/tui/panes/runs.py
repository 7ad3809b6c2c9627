"""A tab that lists runs of the box, with the one under the cursor described below the list."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widget import Widget

from devbox.jobs import queries
from devbox.text_layout import Line
from devbox.tui.feed import RunView
from devbox.tui.grid import Column, Grid
from devbox.tui.panes.base import Seen
from devbox.tui.static_lines import Lines


class RunsPane(Vertical):
    """services: it lists runs that are services, in place of all others."""

    DEFAULT_CSS = """
    RunsPane Grid { height: auto; min-height: 2; max-height: 60%; }
    RunsPane Lines { height: 1fr; margin: 1 0 0 0; }
    """
    services: bool

    def __init__(self, columns: Sequence[Column], *, empty: str, id: str | None) -> None:
        super().__init__(id=id)
        self._runs: dict[str, RunView] = {}
        self._now = 0.0
        self.grid = Grid(columns, self._field, empty=empty)
        self._about = Lines()

    def compose(self) -> ComposeResult:
        yield self.grid
        yield self._about

    @property
    def run_view(self) -> RunView | None:
        """The run under the cursor."""
        return self._runs.get(self.grid.key or "")

    def refresh_from(self, seen: Seen) -> None:
        self._now = seen.now
        runs = seen.feed.runs(seen.view.box.id) if seen.view else ()
        self._runs = {v.run.id: v for v in runs if queries.is_service(v.run) is self.services}
        self.prepare(seen)
        self.grid.show(list(self._runs))
        self._tell()

    def prepare(self, seen: Seen) -> None:
        """What else there is to do before its list is drawn."""

    def field(self, view: RunView, column: Column, width: int) -> Line:
        """One field of the run's row."""
        raise NotImplementedError(type(self))  # why: each of the two tabs has its own columns

    def about(self, view: RunView) -> list[Line]:
        """What there is to say of a run beyond its row."""
        raise NotImplementedError(type(self))  # why: each tells of its own kind of run

    def opened(self, seen: Seen) -> None:
        self.refresh_from(seen)

    def closed(self) -> None:
        """Nothing runs for it."""

    def target(self) -> Widget:
        return self.grid

    def on_grid_moved(self, event: Grid.Moved) -> None:
        event.stop()
        self._tell()

    def _field(self, key: str, column: Column, width: int) -> Line:
        view = self._runs.get(key)
        return [] if view is None or column.key == "edge" else self.field(view, column, width)

    def _tell(self) -> None:
        view = self.run_view
        self._about.display = view is not None
        self._about.show(self.about(view) if view else [])

"""The dashboard's screen: its widgets, where the focus is, notices in the corner."""

from __future__ import annotations

from typing import TypeVar, cast

from textual.app import App, ComposeResult
from textual.widget import Widget
from textual.widgets import Input

from devbox.errors import DevboxError
from devbox.text_layout import plain
from devbox.tui import actions
from devbox.tui.bars import Bar, Keys, Tabs, Told
from devbox.tui.deck import Deck
from devbox.tui.feed import BoxView, Feed
from devbox.tui.fleet_table import FleetTable
from devbox.tui.notices import Severity
from devbox.tui.operation_manager import Operations
from devbox.tui.panes.base import Movable, Pane
from devbox.tui.panes.jobs import JobsPane
from devbox.tui.panes.load import LoadPane
from devbox.tui.panes.logs import LogsPane
from devbox.tui.panes.sync import SyncPane

W = TypeVar("W", bound=Widget)

#: seconds for which a notice stays
STAYS: dict[Severity, float] = {"information": 6.0, "warning": 6.0, "error": 15.0}


class MainScreen(App[None], inherit_bindings=False):
    """pane: the open tab."""

    def __init__(self, feed: Feed, operations: Operations) -> None:
        super().__init__()
        self.feed, self.operations = feed, operations
        self.pane = "load"
        self._told: tuple[str, Severity, float] = ("", "information", 0.0)
        self._widgets: dict[str, Widget] = {}

    def compose(self) -> ComposeResult:
        yield Bar(id="head")
        yield Input(placeholder="filter: name, state, provider, hardware, project", id="filter")
        yield FleetTable(self.feed, id="fleet")
        yield Bar(id="works")
        yield Tabs(id="tabs")
        yield Deck(id="panes")
        yield Keys(id="keys")

    @property
    def now(self) -> float:
        return self.feed.clock()

    @property
    def fleet(self) -> FleetTable:
        return self._main("#fleet", FleetTable)

    @property
    def view(self) -> BoxView | None:
        """The selected box."""
        return self.fleet.view

    @property
    def panes(self) -> dict[str, Pane]:
        return {name: cast("Pane", self._main(f"#{name}", Widget)) for name in actions.PANES}

    @property
    def load_pane(self) -> LoadPane:
        return self._main("#load", LoadPane)

    @property
    def jobs_pane(self) -> JobsPane:
        return self._main("#jobs", JobsPane)

    @property
    def logs_pane(self) -> LogsPane:
        return self._main("#logs", LogsPane)

    @property
    def sync_pane(self) -> SyncPane:
        return self._main("#sync", SyncPane)

    @property
    def in_details(self) -> bool:
        """The focus is in the tabs, not in the fleet."""
        focused = self.screen_stack[0].focused  # also while a dialog is open
        return focused is not None and any(
            node.id == "panes" for node in focused.ancestors_with_self
        )

    @property
    def movable(self) -> Movable:
        return cast("Movable", self.focused) if hasattr(self.focused, "page") else self.fleet

    @property
    def filtering(self) -> bool:
        return self._main("#filter", Input).has_class("-open")

    def start_filter(self) -> None:
        box = self._main("#filter", Input)
        box.add_class("-open")
        box.focus()

    def end_filter(self) -> None:
        """Close and empty it."""
        box = self._main("#filter", Input)
        box.value = ""
        box.remove_class("-open")
        self.fleet.focus()

    def tell(self, text: str, severity: Severity = "information", *, title: str = "") -> None:
        """A notice in the corner, or at the bottom of an open dialog. The text may be untrusted."""
        seconds = STAYS[severity]
        text, title = plain(text, 600), plain(title, 60)
        self._told = (f"{title}: {text}" if title else text, severity, self.now + seconds)
        self.notify(text, title=title, severity=severity, timeout=seconds, markup=False)
        self.tell_dialog()

    def tell_dialog(self) -> None:
        """The bottom of a dialog is drawn like the screen behind it, which it may cover."""
        text, severity, until = self._told
        for told in self.screen.query(Told) if len(self.screen_stack) > 1 else ():
            told.draw(text if self.now < until else "", severity, self.operations.running())

    def tell_error(self, error: DevboxError) -> None:
        self.tell("  ".join(filter(None, (error.what, error.means, error.fix))), "error")

    def _main(self, selector: str, kind: type[W]) -> W:
        """A widget of the main screen, whatever dialog is open."""
        found = self._widgets.get(selector)
        if found is None:
            found = self._widgets[selector] = self.screen_stack[0].query_one(selector)
        assert isinstance(found, kind)
        return found

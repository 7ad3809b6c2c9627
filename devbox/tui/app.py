"""The dashboard's screen and its turns: twice a second it takes in what came and redraws what is
in sight. What actions do is in `handlers`."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from functools import partial
from typing import Any, ClassVar, TypeVar, cast

from textual.app import App, ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Footer, Input

from devbox.errors import DevboxError
from devbox.text_layout import plain
from devbox.tui import actions, background, theme
from devbox.tui.bars import Bar, Tabs, Told, summary, under_way
from devbox.tui.deck import Deck, in_sight
from devbox.tui.feed import BoxView, Feed
from devbox.tui.fleet_table import FleetTable
from devbox.tui.grid import Grid
from devbox.tui.notices import Notices, Severity, StandBy
from devbox.tui.operation_manager import Operation, Operations
from devbox.tui.panes.base import Movable, Pane, Seen
from devbox.tui.panes.jobs import JobsPane
from devbox.tui.panes.load import LoadPane
from devbox.tui.panes.logs import LogsPane
from devbox.tui.panes.sync import SyncPane
from devbox.tui.queries import Asks
from devbox.tui.settings import Settings

W = TypeVar("W", bound=Widget)

TURN = 0.5  # seconds between redraws
_SETTLE = 0.3
_SHORT = 30  # rows of a terminal below which the details take the fleet's room
_NOT_NAMED = {"palette", "down", "up_row", "first", "last", "page_down", "page_up"}


class Dashboard(App[None], inherit_bindings=False):
    """feed, asks, operations: where everything comes from and goes to."""

    CSS_PATH = "dashboard.tcss"
    TITLE = "devbox"
    BINDINGS: ClassVar[list[BindingType]] = [*actions.bindings()]
    ENABLE_COMMAND_PALETTE = True
    COMMAND_PALETTE_BINDING = "ctrl+backslash"
    AUTO_FOCUS = "#fleet"

    def __init__(
        self,
        feed: Feed,
        asks: Asks,
        operations: Operations,
        settings: Settings,
        *,
        readonly: bool = False,
    ) -> None:
        super().__init__()
        self.feed, self.asks, self.operations, self.settings = feed, asks, operations, settings
        self.readonly = readonly or settings.readonly
        self.held = False
        self.pane = "load"
        self._in_sight: tuple[str, ...] = ()
        self._turned_on: str | None = None  # what was selected at the turn before
        self._told: tuple[str, Severity, float] = ("", "information", 0.0)
        self._notices, self._stand_by = Notices(), StandBy()
        self._widgets: dict[str, Widget] = {}
        self._on_screen = False
        for own in theme.THEMES:
            self.register_theme(own)
        self.theme = settings.theme if settings.theme in self.available_themes else "devbox-dark"
        self.set_keymap(settings.keys)

    def compose(self) -> ComposeResult:
        yield Bar(id="head")
        yield Input(placeholder="filter: name, state, provider, hardware, project", id="filter")
        yield FleetTable(self.feed, id="fleet")
        yield Bar(id="works")
        yield Tabs(id="tabs")
        yield Deck(id="panes")
        yield Footer(compact=True, show_command_palette=False)

    async def on_mount(self) -> None:
        await self.feed.start()
        self._arrange()
        self._on_screen = True
        self.set_interval(TURN, self.turn)
        self.call_after_refresh(self.turn)
        # What the first picture does not need is loaded while the user looks at it.
        self.set_timer(_SETTLE, _load_the_rest)

    def on_unmount(self) -> None:
        self._on_screen = False

    async def action_quit(self) -> None:
        """Leave at once: streams end with their processes, work continues by itself."""
        self._on_screen = False
        for work in self.operations.running():
            if work.stop:
                work.stop()
        await self.feed.stop()
        background.end_children(self.operations.pids())
        self.exit()

    def action_do(self, action_id: str) -> None:
        """An action of the registry, from a key, the palette or a click."""
        action = actions.BY_ID[action_id]
        if action.changes and self.readonly:
            self.tell(f"{action.label}: this dashboard is read-only", "warning")
            return
        if action.pane:
            self.open_pane(action.pane)
        if action.handler:
            self.finish(actions.handler(action.handler)(self, *action.args))

    def finish(self, handling: Coroutine[Any, Any, None] | None) -> None:
        """What a handler awaits, as a worker whose errors are shown, not raised."""
        if handling is not None:
            self.run_worker(self._finished(handling), group="actions")

    async def _finished(self, handling: Coroutine[Any, Any, None]) -> None:
        try:
            await handling
        except DevboxError as error:
            self.tell_error(error)
        except OSError as error:
            self.tell(str(error), "error")

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """The command palette: every action but the plain moves, with its key."""
        for action in actions.ACTIONS:
            if action.id not in _NOT_NAMED and not (self.readonly and action.changes):
                # shown as markup by the palette; registry texts hold no bracket, a key may
                keys = actions.keys(action, self.settings.keys).replace("[", "\\[")
                run = partial(self.action_do, action.id)
                yield SystemCommand(action.label, f"{action.tooltip}  ({keys})", run)

    def turn(self) -> None:
        """Take in what came; redraw unless the display is paused."""
        if not self._on_screen:
            return
        self.feed.tick()
        for operation in self.operations.poll():
            self._ended(operation)
        for notice in self._notices.look(self.feed, self.now, self.operations.recent()):
            self.tell(notice.text, notice.severity, title=notice.title)
        warned = self._stand_by.look(self.feed)
        if warned and not self.readonly:
            self.finish(actions.handler("boxes.save_before_pause")(self, warned))
        self.redraw()
        self._tell_dialog()
        self._turned_on = self.fleet.key

    def redraw(self, *, always: bool = False) -> None:
        """What is in sight and changed."""
        if not self._on_screen or (self.held and not always):
            return
        grid = self.fleet
        grid.refresh_from(self.now)
        self._look()
        width = self.size.width
        self._main("#head", Bar).show(
            [
                summary(
                    self.feed,
                    shown=len(grid.keys),
                    held=self.held,
                    readonly=self.readonly,
                    words=grid.words,
                    marked=len(grid.marked),
                    width=width,
                )
            ]
        )
        works, running = self._main("#works", Bar), self.operations.running()
        works.display = bool(running)
        works.show([under_way(running)] if running else [])
        self._main("#tabs", Tabs).draw(self.pane, self.view)
        for name in self._in_sight:
            if self._is_drawn(name):
                self.panes[name].refresh_from(self.seen())

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

    def seen(self) -> Seen:
        return Seen(self.feed, self.asks, self.operations, self.view, self.now)

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
        focused = self.focused
        return focused is not None and any(
            node.id == "panes" for node in focused.ancestors_with_self
        )

    @property
    def movable(self) -> Movable:
        return cast("Movable", self.focused) if hasattr(self.focused, "page") else self.fleet

    def moved(self) -> None:
        """The cursor may be on another box, or another place of the open tab."""
        self.fleet.await_box("")
        if self.in_details:
            self.panes[self.pane].refresh_from(self.seen())
        else:
            # Its name goes with the cursor, in the same frame; the details come in the next.
            self._main("#tabs", Tabs).draw(self.pane, self.view)
            self._look()

    def open_pane(self, name: str) -> None:
        inside = self.in_details
        self.pane = name
        self._arrange()
        self.panes[name].opened(self.seen())
        if inside:
            self.panes[name].target().focus()
        self._main("#tabs", Tabs).draw(name, self.view)

    def _arrange(self) -> None:
        """Show the panes that belong in sight; what leaves it stops."""
        names = in_sight(self.pane, self.size)
        for name in self._in_sight:
            if name not in names:
                self.panes[name].closed()
        if names != self._in_sight:
            self._in_sight = names
            self._main("#panes", Deck).show(names)

    def _is_drawn(self, name: str) -> bool:
        """A log costs a connection: one that is only in sight follows the box on which the cursor
        rests, not each that it passes."""
        return name in (self.pane, "load", "jobs") or self.fleet.key == self._turned_on

    def _look(self) -> None:
        pane = "jobs" if "jobs" in self._in_sight else self.pane
        self.feed.look(self.fleet.key, self.fleet.visible_keys(), pane)

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
        seconds = 15.0 if severity == "error" else 6.0
        text, title = plain(text, 600), plain(title, 60)
        self._told = (f"{title}: {text}" if title else text, severity, self.now + seconds)
        self.notify(text, title=title, severity=severity, timeout=seconds, markup=False)
        self._tell_dialog()

    def _tell_dialog(self) -> None:
        """The bottom of a dialog is drawn like the screen behind it, which it may cover."""
        text, severity, until = self._told
        for told in self.screen.query(Told) if len(self.screen_stack) > 1 else ():
            told.draw(text if self.now < until else "", severity, self.operations.running())

    def tell_error(self, error: DevboxError) -> None:
        self.tell("  ".join(filter(None, (error.what, error.means, error.fix))), "error")

    def on_input_changed(self, event: Input.Changed) -> None:
        if event.input.id == "filter":
            self.fleet.filter_by(event.value)
            self.redraw()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.input.id == "filter":
            event.input.remove_class("-open")
            self.fleet.focus()

    def on_grid_moved(self, event: Grid.Moved) -> None:
        if event.grid is self.fleet:
            self._main("#tabs", Tabs).draw(self.pane, self.view)
            # the other tiles follow at the next turn: keys come first
            self.call_after_refresh(lambda: self.panes[self.pane].opened(self.seen()))

    def on_grid_chosen(self, event: Grid.Chosen) -> None:
        self.action_do("details")

    def on_grid_titled(self, event: Grid.Titled) -> None:
        self.fleet.sort_on(event.column)
        self.redraw()

    def on_grid_marked(self, event: Grid.Marked) -> None:
        self.fleet.marked ^= {event.key}
        self.redraw()

    def on_tabs_picked(self, event: Tabs.Picked) -> None:
        self.open_pane(event.pane)

    def on_descendant_focus(self) -> None:
        self._choose_focused()
        self.screen_stack[0].set_class(self.in_details, "-details")

    def _choose_focused(self) -> None:
        """The tile that has the focus is the chosen pane."""
        inside = self.focused.ancestors_with_self if self.focused and self.in_details else ()
        found = next((node.id for node in inside if node.id in self._in_sight), self.pane)
        if found != self.pane:
            self.pane = str(found)
            self._main("#tabs", Tabs).draw(self.pane, self.view)

    def on_resize(self) -> None:
        self.screen_stack[0].set_class(self.size.height < _SHORT, "-short")
        if self._on_screen:
            self._arrange()
        self.call_after_refresh(self.redraw, always=True)

    def handle_bindings_clash(self, clashed_bindings: Iterable[Binding], node: object) -> None:
        """Settings are checked for clashes when they are read."""

    def _ended(self, operation: Operation) -> None:
        box_ids = [v.box.id for v in self.feed.views if operation.concerns(v.box)]
        self.feed.hurry(box_ids)
        if operation.state == "done":
            self.tell(operation.summary, title=operation.title)
            return
        words = [operation.error.get(key, "") for key in ("what", "means", "fix")]
        self.tell("  ".join(filter(None, words)) or operation.summary, "error",
                  title=operation.title)  # fmt: skip

    def _main(self, selector: str, kind: type[W]) -> W:
        """A widget of the main screen, whatever dialog is open."""
        found = self._widgets.get(selector)
        if found is None:
            found = self._widgets[selector] = self.screen_stack[0].query_one(selector)
        assert isinstance(found, kind)
        return found


def _load_the_rest() -> None:
    import devbox.jobs.queries  # noqa: F401

    for action in actions.ACTIONS:
        if action.handler:
            actions.handler(action.handler)

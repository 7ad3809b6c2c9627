"""The dashboard's turns and its actions: twice a second it takes in what came and redraws what is
in sight. What actions do is in `handlers`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, ClassVar

from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Input

from devbox.errors import DevboxError
from devbox.tui import actions, background, theme
from devbox.tui.bars import Bar, Keys, Tabs, summary, under_way
from devbox.tui.deck import Deck, in_sight
from devbox.tui.feed import Feed
from devbox.tui.grid import Grid
from devbox.tui.main_screen import MainScreen
from devbox.tui.notices import Notices, StandBy
from devbox.tui.operation_manager import Operation, Operations
from devbox.tui.panes.base import Seen
from devbox.tui.queries import Asks
from devbox.tui.settings import Settings

TURN = 0.5  # seconds between redraws
_SETTLE = 0.3
_SHORT = 30  # rows of a terminal below which the details take the fleet's room
_NOT_NAMED = {"palette", "down", "up_row", "first", "last", "page_down", "page_up"}


class Dashboard(MainScreen, inherit_bindings=False):
    """feed, asks, operations: where everything comes from and goes to. loaded: called once, when
    what the first picture did not need is there too."""

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
        loaded: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__(feed, operations)
        self._loaded = loaded
        self.asks, self.settings = asks, settings
        self.readonly = readonly or settings.readonly
        self.held = False
        self._in_sight: tuple[str, ...] = ()
        self._turned_on: str | None = None  # what was selected at the turn before
        self._notices, self._stand_by = Notices(), StandBy()
        self._on_screen = False
        for own in theme.THEMES:
            self.register_theme(own)
        self.theme = settings.theme if settings.theme in self.available_themes else "devbox-dark"
        self.set_keymap(settings.keys)

    async def on_mount(self) -> None:
        await self.feed.start()
        self._arrange()
        self._on_screen = True
        self.set_interval(TURN, self.turn)
        self.call_after_refresh(self.turn)
        # What the first picture does not need is loaded while the user looks at it.
        self.set_timer(_SETTLE, self._load_the_rest)

    def _load_the_rest(self) -> None:
        import devbox.jobs.queries  # noqa: F401

        for action in actions.ACTIONS:
            if action.handler:
                actions.handler(action.handler)
        self._loaded()

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

    def finish(self, handling: Awaitable[None] | None) -> None:
        """What a handler awaits, as a worker whose errors are shown, not raised."""
        if handling is not None:
            self.run_worker(self._finished(handling), group="actions")

    async def _finished(self, handling: Awaitable[None]) -> None:
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
        self.tell_dialog()
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
        self._draw_keys()
        for name in self._in_sight:
            if self._is_drawn(name):
                self.panes[name].refresh_from(self.seen())

    def seen(self) -> Seen:
        return Seen(self.feed, self.asks, self.operations, self.view, self.now)

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
        self._draw_keys()

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

    def on_keys_picked(self, event: Keys.Picked) -> None:
        self.action_do(event.action_id)

    def on_tabs_picked(self, event: Tabs.Picked) -> None:
        self.open_pane(event.pane)

    def on_descendant_focus(self) -> None:
        self._choose_focused()
        self.screen_stack[0].set_class(self.in_details, "-details")
        self._draw_keys()

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

    def _draw_keys(self) -> None:
        view = self.pane if self.in_details else "fleet"
        self._main("#keys", Keys).draw(view, self.settings.keys, readonly=self.readonly)

    def _ended(self, operation: Operation) -> None:
        box_ids = [v.box.id for v in self.feed.views if operation.concerns(v.box)]
        self.feed.hurry(box_ids)
        if operation.state == "done":
            self.tell(operation.summary, title=operation.title)
            return
        words = [operation.error.get(key, "") for key in ("what", "means", "fix")]
        self.tell("  ".join(filter(None, words)) or operation.summary, "error",
                  title=operation.title)  # fmt: skip

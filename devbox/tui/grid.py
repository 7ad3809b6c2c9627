"""A table that draws only the rows in sight, with a cursor that stays on its row's key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

from rich.segment import Segment
from textual import events
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from devbox.text_layout import Line, fit, fit_line, width_of
from devbox.tui.theme import Palette

_GAP = 1


class Column(NamedTuple):
    """width: the least; most: what it may grow to. drop: in narrow terminals the column with the
    highest goes first, 0 never goes. letter: shift and this letter sorts by it. eager: grows before
    the others."""

    key: str
    title: str
    width: int
    most: int = 0
    drop: int = 0
    letter: str = ""
    right: bool = False
    eager: bool = False


Paint = Callable[[str, Column, int], Line]


# Measured with Textual 8.2, 100 rows of 12 fields a turn: DataTable takes 6.7 times the CPU
# of this (257 ms a turn to 38), since it lays out also what is out of sight.
class Grid(ScrollView, can_focus=True, inherit_bindings=False):
    """rows are keys; `paint` gives the contents of one field when it is drawn."""

    DEFAULT_CSS = """
    Grid { overflow-x: hidden; overflow-y: auto; scrollbar-size-vertical: 1; }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"grid--header", "grid--cursor", "grid--cursor-blurred"}

    cursor: reactive[int] = reactive(0, repaint=False)

    class Moved(Message):
        """The cursor is on another row; key None: there is none."""

        def __init__(self, grid: Grid, key: str | None) -> None:
            super().__init__()
            self.grid, self.key = grid, key

        @property
        def control(self) -> Grid:
            return self.grid

    class Chosen(Message):
        """A row was clicked twice."""

        def __init__(self, grid: Grid, key: str) -> None:
            super().__init__()
            self.grid, self.key = grid, key

        @property
        def control(self) -> Grid:
            return self.grid

    class Titled(Message):
        """A column's title was clicked."""

        def __init__(self, grid: Grid, column: str) -> None:
            super().__init__()
            self.grid, self.column = grid, column

        @property
        def control(self) -> Grid:
            return self.grid

    class Marked(Message):
        """The first field of a row was clicked."""

        def __init__(self, grid: Grid, key: str) -> None:
            super().__init__()
            self.grid, self.key = grid, key

        @property
        def control(self) -> Grid:
            return self.grid

    def __init__(
        self,
        columns: Sequence[Column],
        paint: Paint,
        *,
        empty: str = "",
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self.columns, self._paint_field = tuple(columns), paint
        self.keys: list[str] = []
        self.sorted: tuple[str, bool] = ("", False)
        self.empty = empty
        self._shown: list[tuple[Column, int]] = []
        self._palettes: dict[str, Palette] = {}
        self._told: str | None = None
        self._drawn: dict[str, Line] = {}

    def set_columns(self, columns: Sequence[Column]) -> None:
        """Draw these columns from now on."""
        if tuple(columns) != self.columns:
            self.columns = tuple(columns)
            self._shown = laid_out(self.columns, self.size.width)
            self._drawn.clear()
            self.refresh()

    @property
    def key(self) -> str | None:
        """The key under the cursor."""
        return self.keys[self.cursor] if 0 <= self.cursor < len(self.keys) else None

    def show(self, keys: Sequence[str]) -> None:
        """Draw these rows, where they are not what is drawn already. The cursor stays on its key
        where that is still there."""
        was = self.key
        if list(keys) != self.keys:
            before, self.keys = self.keys, list(keys)
            if len(before) != len(self.keys):
                self.virtual_size = Size(self.size.width, len(self.keys) + 1)
            if was in self.keys:
                self.cursor = self.keys.index(was)
            else:
                self.cursor = max(0, min(self.cursor, len(self.keys) - 1))
            self._drawn.clear()
            self.refresh()
        else:
            self._draw_anew()
        self._tell()

    def sort_by(self, column: str, reverse: bool) -> None:
        """Which title shows the arrow."""
        if self.sorted != (column, reverse):
            self.sorted = (column, reverse)
            self.refresh()

    def move(self, rows: int) -> None:
        """Move the cursor; it stops at the ends."""
        self.go(self.cursor + rows)

    def go(self, row: int) -> None:
        row = max(0, min(row, len(self.keys) - 1))
        if row != self.cursor:
            was, self.cursor = self.cursor, row
            self._refresh_row(was)
            self._refresh_row(row)
            self._reveal()
        self._tell()

    def visible_keys(self) -> list[str]:
        top = int(self.scroll_offset.y)
        return self.keys[top : top + max(0, self.size.height - 1)]

    @property
    def page(self) -> int:
        return max(1, self.size.height - 2)

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        if y == 0:
            return self._header(width)
        row = y - 1 + int(self.scroll_offset.y)
        if row >= len(self.keys):
            text = self.empty if row == 0 and not self.keys else ""
            return self._strip([(fit(f" {text}", width), "dim")], "", width)
        key = self.keys[row]
        line = self._drawn.get(key)
        if line is None:
            line = self._drawn[key] = self._row(key)
        part = ""
        if row == self.cursor:
            part = "grid--cursor" if self.has_focus else "grid--cursor-blurred"
        return self._strip(line, part, width)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._palettes.clear()
        self._drawn.clear()

    def on_resize(self, event: events.Resize) -> None:
        self._shown = laid_out(self.columns, event.size.width)
        self._drawn.clear()
        self.virtual_size = Size(event.size.width, len(self.keys) + 1)
        self._reveal()

    def on_click(self, event: events.Click) -> None:
        if event.y == 0:
            column = self._column_at(event.x)
            if column and column.letter:
                self.post_message(self.Titled(self, column.key))
            return
        row = event.y - 1 + int(self.scroll_offset.y)
        if row >= len(self.keys):
            return
        self.go(row)
        found = self._column_at(event.x)
        if found and found.key == "mark":
            self.post_message(self.Marked(self, self.keys[row]))
        elif event.chain == 2:
            self.post_message(self.Chosen(self, self.keys[row]))

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    def _tell(self) -> None:
        if self.key != self._told and self.is_attached:
            self._told = self.key
            self.post_message(self.Moved(self, self.key))

    def _reveal(self) -> None:
        height = max(1, self.size.height - 1)
        top = int(self.scroll_offset.y)
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False, force=True)
        elif self.cursor >= top + height:
            self.scroll_to(y=self.cursor - height + 1, animate=False, force=True)

    def _column_at(self, x: int) -> Column | None:
        at = 0
        for column, room in self._shown:
            at += room + _GAP
            if x < at:
                return column
        return None

    def _header(self, width: int) -> Strip:
        line: Line = []
        for column, room in self._shown:
            title = column.title
            if column.key == self.sorted[0]:
                title = f"{title}{'▲' if not self.sorted[1] else '▼'}"
            line += [(fit(title, room, right=column.right), ""), (" " * _GAP, "")]
        return self._strip(line, "grid--header", width)

    def _strip(self, line: Line, part: str, width: int) -> Strip:
        palette = self._palettes.get(part)
        if palette is None:
            base = self.get_component_rich_style(part) if part else self.rich_style
            palette = self._palettes[part] = Palette(self.app.theme_variables, base)
        pieces = [Segment(text, palette[style]) for text, style in fit_line(line, width) if text]
        return Strip(pieces, width)

    def _row(self, key: str) -> Line:
        line: Line = []
        for column, room in self._shown:
            field = self._paint_field(key, column, room)
            line += _right(field, room) if column.right else fit_line(field, room)
            line.append((" " * _GAP, ""))
        return line

    def _draw_anew(self) -> None:
        """Only the rows in sight, and of them only those that changed."""
        seen = self.visible_keys()
        drawn = {key: self._row(key) for key in seen}
        top = int(self.scroll_offset.y)
        for place, key in enumerate(seen):
            if drawn[key] != self._drawn.get(key):
                self._refresh_row(top + place)
        self._drawn = drawn

    def _refresh_row(self, row: int) -> None:
        y = row - int(self.scroll_offset.y) + 1
        if 1 <= y < self.size.height:
            self.refresh(Region(0, y, self.size.width, 1))


def laid_out(columns: Sequence[Column], width: int) -> list[tuple[Column, int]]:
    """The columns that fit and the room each gets."""
    kept = list(columns)
    while len(kept) > 1 and sum(c.width + _GAP for c in kept) > width:
        droppable = [c for c in kept if c.drop]
        if not droppable:
            break
        kept.remove(max(droppable, key=lambda c: c.drop))
    room = {c.key: c.width for c in kept}
    left = width - sum(c.width + _GAP for c in kept)
    for growing in ([c for c in kept if c.eager], [c for c in kept if not c.eager]):
        while left > 0 and (growing := [c for c in growing if room[c.key] < c.most]):
            for column in growing[:left]:
                room[column.key] += 1
            left -= min(left, len(growing))
    return [(column, room[column.key]) for column in kept]


def _right(line: Line, width: int) -> Line:
    used = width_of(line)
    return fit_line([(" " * max(0, width - used), ""), *line], width)

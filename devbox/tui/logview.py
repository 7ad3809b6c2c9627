"""A log of any length: the latest lines in memory, only those in sight drawn, with search."""

from __future__ import annotations

from rich.segment import Segment
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from devbox.text_layout import fit, plain
from devbox.tui.theme import Palette

KEPT = 20_000
_SLACK = 4_000  # trimmed this many at a time: taking one from the front of a list is dear
_MAX_LINE = 4_000  # characters of a line that are kept


# Measured with Textual 8.2, 2,500 lines a turn: Log takes as much CPU (42 ms to 48), but marks no
# match of a search; RichLog took 180 ms for a tenth of the lines.
class LogView(ScrollView, can_focus=True, inherit_bindings=False):
    """follow: the end stays in sight as lines come."""

    DEFAULT_CSS = """
    LogView { overflow-x: hidden; overflow-y: auto; scrollbar-size-vertical: 1; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.lines: list[str] = []
        self.dropped = 0
        self.follow = True
        self.words = ""
        self.match: int | None = None
        self._palette: Palette | None = None

    def add(self, lines: list[str]) -> None:
        """Append untrusted lines."""
        if not lines:
            return
        if len(lines) > KEPT:
            self.dropped += len(lines) - KEPT
            lines = lines[-KEPT:]
        self.lines += [plain(line, _MAX_LINE) for line in lines]
        in_sight = len(self.lines) - len(lines) < self.scroll_offset.y + self.size.height
        extra = len(self.lines) - KEPT
        if extra > _SLACK:
            del self.lines[:extra]
            self.dropped += extra
            if self.match is not None:
                self.match = self.match - extra if self.match >= extra else None
        self._resize(len(self.lines))
        if self.follow:
            self._to_end()
        if self.follow or in_sight or extra > _SLACK:
            self.refresh()

    def clear(self) -> None:
        self.lines, self.dropped, self.match = [], 0, None
        self.virtual_size = Size(self.size.width, 0)
        self.scroll_to(y=0, animate=False, force=True)
        self.refresh()

    def search(self, words: str) -> int:
        """Mark the lines that hold the words and go to the last one; how many there are."""
        self.words, self.match = words.lower(), None
        found = self.matches()
        if found:
            self._go_match(found[-1])
        self.refresh()
        return len(found)

    def matches(self) -> list[int]:
        if not self.words:
            return []
        return [i for i, line in enumerate(self.lines) if self.words in line.lower()]

    def step(self, direction: int) -> tuple[int, int]:
        """To the next (1) or previous (-1) match, round the ends; (which, of how many)."""
        found = self.matches()
        if not found:
            return 0, 0
        here = self.match
        if here is None:
            here = int(self.scroll_offset.y)
        if direction > 0:
            place = next((i for i, row in enumerate(found) if row > here), 0)
        else:
            before = [i for i, row in enumerate(found) if row < here]
            place = before[-1] if before else len(found) - 1
        self._go_match(found[place])
        return place + 1, len(found)

    @property
    def page(self) -> int:
        return max(1, self.size.height - 1)

    def move(self, rows: int) -> None:
        if rows < 0:
            self.follow = False
        self.scroll_to(y=self.scroll_offset.y + rows, animate=False, force=True)

    def go(self, row: int) -> None:
        self.follow = row > 0
        if self.follow:
            self._to_end()
        else:
            self.scroll_to(y=row, animate=False, force=True)

    def set_follow(self, follow: bool) -> None:
        self.follow = follow
        if follow:
            self._to_end()

    def on_resize(self) -> None:
        if self.follow:
            self._to_end()

    def watch_show_vertical_scrollbar(self, shown: bool) -> None:
        """A bar is told where it is only while it is shown (textual.widget, watch_scroll_y)."""
        if shown:
            self.vertical_scrollbar.position = self.scroll_y

    def on_mouse_scroll_up(self) -> None:
        self.follow = False

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        if self._palette is None:
            self._palette = Palette(self.app.theme_variables, self.rich_style)
        palette = self._palette
        row = y + int(self.scroll_offset.y)
        if row >= len(self.lines):
            return Strip.blank(width, palette[""])
        line = fit(f" {self.lines[row]}", width)
        style = "reverse" if row == self.match else ""
        if not self.words or self.words not in line.lower():
            return Strip([Segment(line, palette[style])], width)
        pieces = []
        at, lower = 0, line.lower()
        while (place := lower.find(self.words, at)) >= 0:
            end = place + len(self.words)
            pieces.append(Segment(line[at:place], palette[style]))
            pieces.append(Segment(line[place:end], palette["warn bold reverse"]))
            at = end
        pieces.append(Segment(line[at:], palette[style]))
        return Strip([piece for piece in pieces if piece.text], width)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._palette = None

    def _go_match(self, row: int) -> None:
        self.match, self.follow = row, False
        top = max(0, row - self.size.height // 2)
        self.scroll_to(y=top, animate=False, force=True)
        self.refresh()

    def _resize(self, count: int) -> None:
        """So many lines. A new virtual size has the whole screen laid out again (12 ms), which only
        the appearance of the scrollbar needs."""
        size = Size(self.size.width, count)
        if self.show_vertical_scrollbar and count > self.size.height:
            self.set_reactive(LogView.virtual_size, size)
            self.vertical_scrollbar.window_virtual_size = count
        else:
            self.virtual_size = size

    def _to_end(self) -> None:
        end = max(0, len(self.lines) - self.size.height)
        self.scroll_to(y=end, animate=False, force=True)

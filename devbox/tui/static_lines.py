"""A scrollable page of painted lines that is redrawn only where it changed."""

from __future__ import annotations

from rich.segment import Segment
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from devbox.text_layout import Line, fit_line
from devbox.tui.theme import Palette


class Lines(ScrollView, can_focus=True, inherit_bindings=False):
    """`show` replaces what is on it; the place scrolled to stays."""

    DEFAULT_CSS = """
    Lines { overflow-x: hidden; overflow-y: auto; scrollbar-size-vertical: 1; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.lines: list[Line] = []
        self._palette: Palette | None = None

    def show(self, lines: list[Line]) -> None:
        if lines == self.lines:
            return
        before, self.lines = self.lines, lines
        if len(lines) != len(before):
            self.virtual_size = Size(self.size.width, len(lines))
            self.refresh()
            return
        top = int(self.scroll_offset.y)
        for row in range(top, min(len(lines), top + self.size.height)):
            if lines[row] != before[row]:
                self.refresh(Region(0, row - top, self.size.width, 1))

    @property
    def text(self) -> str:
        """All of it without styles."""
        return "\n".join("".join(text for text, _ in line).rstrip() for line in self.lines)

    @property
    def page(self) -> int:
        return max(1, self.size.height - 1)

    def move(self, rows: int) -> None:
        self.scroll_to(y=self.scroll_offset.y + rows, animate=False, force=True)

    def go(self, row: int) -> None:
        self.scroll_to(y=row, animate=False, force=True)

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        row = y + int(self.scroll_offset.y)
        if self._palette is None:
            self._palette = Palette(self.app.theme_variables, self.rich_style)
        palette = self._palette
        line = self.lines[row] if row < len(self.lines) else []
        pieces = [Segment(text, palette[style]) for text, style in fit_line(line, width) if text]
        return Strip(pieces, width)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._palette = None

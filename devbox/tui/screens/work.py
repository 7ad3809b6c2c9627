"""What is under way and what ended lately, with its output; what runs can be stopped."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widget import Widget

from devbox.text import duration
from devbox.text_layout import Line, bar, percent, plain
from devbox.tui.grid import Column, Grid
from devbox.tui.operation_manager import Operation, Operations
from devbox.tui.screens.dialog import Answer, Dialog
from devbox.tui.static_lines import Lines

_COLUMNS = (
    Column("state", "", 2),
    Column("title", "WORK", 20, most=34),
    Column("time", "TIME", 7, right=True),
    Column("note", "", 16, most=80),
)
_MARKS = {"running": ("▶", "good"), "done": ("✔", "good"), "failed": ("✖", "bad bold")}


class Work(Dialog[str]):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "move(1)", "Down", show=False),
        Binding("k,up", "move(-1)", "Up", show=False),
        Binding("m,q", "cancel", "Close", show=False),
    ]
    title_text = "Work"
    answers = (Answer("cancel", "Close"), Answer("stop", "Stop the chosen", danger=True))

    def __init__(self, operations: Operations) -> None:
        super().__init__()
        self._operations = operations

    def body(self) -> Iterable[Widget]:
        yield Grid(_COLUMNS, self._field, empty="nothing was started yet", id="work-list")
        yield Lines(id="output")

    def on_mount(self) -> None:
        self.query_one(Grid).focus()
        self.set_interval(0.5, self._draw)
        self._draw()

    def action_move(self, rows: int) -> None:
        self.query_one(Grid).move(rows)

    def on_grid_moved(self, event: Grid.Moved) -> None:
        event.stop()
        self._draw()

    def answered(self, which: str) -> None:
        chosen = self._chosen()
        if chosen and chosen.state == "running":
            self._operations.stop(chosen)

    def _chosen(self) -> Operation | None:
        return self._operations.all.get(self.query_one(Grid).key or "")

    def _draw(self) -> None:
        newest = sorted(self._operations.all.values(), key=lambda o: -o.began)
        self.query_one(Grid).show([operation.key for operation in newest])
        chosen = self._chosen()
        lines: list[Line] = []
        if chosen:
            lines = [[(f" {plain(text, 500)}", "")] for text in list(chosen.lines)[-200:]]
            if chosen.summary:
                style = "bad bold" if chosen.state == "failed" else "good bold"
                lines.append([(f" {plain(chosen.summary, 500)}", style)])
        output = self.query_one("#output", Lines)
        grown = len(lines) != len(output.lines)
        output.show(lines)
        if grown:
            output.go(len(lines))

    def _field(self, key: str, column: Column, width: int) -> Line:
        operation = self._operations.all[key]
        match column.key:
            case "state":
                return [_MARKS[operation.state]]
            case "title":
                return [(plain(operation.title, 100), "bold")]
            case "time":
                end = operation.ended or self._operations.clock()
                return [(duration(end - operation.began), "")]
        if operation.state == "running" and operation.share is not None:
            share = 100 * operation.share
            return [*bar(share, 10, style="info"), (f" {percent(share)} {operation.note}", "")]
        return [(plain(operation.summary or operation.note, 200), "dim")]

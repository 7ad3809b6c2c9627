"""The doctor's report, as it comes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widget import Widget

from devbox.errors import DevboxError
from devbox.text_layout import Line, plain, wrapped
from devbox.tui import symbols
from devbox.tui.screens.dialog import Answer, Dialog
from devbox.tui.static_lines import Lines
from devbox.wire.messages import Check


class Doctor(Dialog[str]):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "move(1)", "Down", show=False),
        Binding("k,up", "move(-1)", "Up", show=False),
        Binding("x,q", "cancel", "Close", show=False),
    ]
    answers = (Answer("cancel", "Close"),)

    def __init__(self, what: str, ask: Callable[[], list[Check]]) -> None:
        super().__init__()
        self.title_text = f"Doctor: {what}"
        self._ask = ask
        self._found: list[Check] = []

    def body(self) -> Iterable[Widget]:
        yield Lines(id="page")

    def on_mount(self) -> None:
        page = self.query_one(Lines)
        page.show([[(" looking …", "dim")]])
        page.focus()
        self.run_worker(self._look())

    def action_move(self, rows: int) -> None:
        self.query_one(Lines).move(rows)

    async def _look(self) -> None:
        try:
            found = await self.ask(self._ask)
        except DevboxError as error:
            found = [Check("fail", error.what, error.fix)]
        self._found = found
        self.on_resize()

    def on_resize(self) -> None:
        page = self.query_one(Lines)
        if self._found:
            page.show([line for check in self._found for line in lines(check, page.size.width)])


def lines(check: Check, width: int) -> list[Line]:
    shape, style = symbols.LEVEL.get(check.level, symbols.LEVEL["fail"])
    first, *rest = wrapped(plain(check.what, 600), width - 4)
    out: list[Line] = [[(f" {shape} ", style), (first, "")]]
    out += [[("   " + part, "")] for part in rest]
    if check.fix and check.level != "ok":
        out += [[("     " + part, "dim")] for part in wrapped(plain(check.fix, 600), width - 6)]
    return out

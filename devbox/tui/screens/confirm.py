"""Asks before something that costs or destroys: what is lost, what it costs, Cancel in focus."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from textual.containers import VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Button, Static

from devbox.errors import DevboxError
from devbox.text_layout import plain
from devbox.tui.screens.dialog import CANCEL, Answer, Dialog, text


class Confirm(Dialog[str]):
    """facts: known at once, such as the cost. look: finds more lines, such as what is unsynced,
    while the dialog is open. Returns the id of the answer."""

    def __init__(
        self,
        title: str,
        facts: Sequence[str],
        answers: Sequence[Answer],
        look: Callable[[], list[str]] | None = None,
    ) -> None:
        super().__init__()
        self.title_text = title
        self.answers = (CANCEL, *answers)
        self._facts, self._look = facts, look

    def body(self) -> Iterable[Widget]:
        yield text("\n".join(plain(fact, 300) for fact in self._facts), id="facts")
        if self._look:
            with_scroll = VerticalScroll(text("looking what is unsynced …", id="losses"))
            with_scroll.can_focus = False
            yield with_scroll

    def on_mount(self) -> None:
        self.query_one("#cancel", Button).focus()
        if self._look:
            self.run_worker(self._find(self._look))

    async def _find(self, look: Callable[[], list[str]]) -> None:
        try:
            lines = await self.ask(look)
        except DevboxError as error:
            lines = [f"what is on it and not here is unknown: {error.what}"]
        shown = "\n".join(plain(line, 300) for line in lines)
        self.query_one("#losses", Static).update(Content(shown))

    def answered(self, which: str) -> None:
        self.dismiss(which)

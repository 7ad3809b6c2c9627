"""Asks for one line, checked while the dialog is open."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from textual.content import Content
from textual.widget import Widget
from textual.widgets import Input, Static

from devbox.errors import DevboxError
from devbox.tui.screens.dialog import CANCEL, Answer, Dialog, text


class Prompt(Dialog[str]):
    """check: raises a DevboxError or ValueError that says what is wrong with the line."""

    answers = (CANCEL, Answer("ok", "OK"))

    def __init__(self, title: str, note: str, value: str, check: Callable[[str], object]) -> None:
        super().__init__()
        self.title_text = title
        self._note, self._value, self._check = note, value, check

    def body(self) -> Iterable[Widget]:
        yield text(self._note, id="facts")
        yield Input(self._value, id="line", compact=True)
        yield text("", id="wrong")

    def on_mount(self) -> None:
        self.query_one("#line", Input).focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.answered("ok")

    def answered(self, which: str) -> None:
        line = self.query_one("#line", Input).value.strip()
        try:
            self._check(line)
        except (DevboxError, ValueError) as error:
            fix = error.fix if isinstance(error, DevboxError) else ""
            wrong = f"{error}\n{fix}" if fix else str(error)
            self.query_one("#wrong", Static).update(Content(wrong))
            return
        self.dismiss(line)

"""The frame of every dialog: a title, a body, buttons; escape cancels."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar, Generic, NamedTuple, TypeVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Button, OptionList, Static

from devbox.text_layout import plain
from devbox.tui import background
from devbox.tui.bars import Told

R = TypeVar("R")
T = TypeVar("T")


class Answer(NamedTuple):
    """A button. id is what the dialog returns for it."""

    id: str
    label: str
    danger: bool = False


CANCEL = Answer("cancel", "Cancel")


class Dialog(ModalScreen[R | None], Generic[R]):
    """Subclasses yield their body in `body` and act on a button in `answered`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel", id="dialog_cancel"),
        Binding("left", "app.focus_previous", "Previous", show=False),
        Binding("right", "app.focus_next", "Next", show=False),
        Binding("j", "list('cursor_down')", "Next row", show=False),
        Binding("k", "list('cursor_up')", "Previous row", show=False),
        Binding("g", "list('first')", "First row", show=False),
        Binding("G", "list('last')", "Last row", show=False),
    ]
    title_text: str = ""
    answers: Sequence[Answer] = (CANCEL,)

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield Static(Content(plain(self.title_text, 300)), id="dialog-title")
            yield from self.body()
            with Horizontal(id="dialog-buttons"):
                for answer in self.answers:
                    yield Button(
                        Content(answer.label),
                        id=answer.id,
                        variant="error" if answer.danger else "default",
                        compact=True,
                    )
        yield Told(id="told")

    def body(self) -> Iterable[Widget]:
        return ()

    def on_resize(self) -> None:
        """What scrolls leaves room for the buttons, however low the terminal is."""
        for part in self.query("VerticalScroll, OptionList"):
            part.styles.max_height = max(4, self.size.height * 2 // 5)

    def answered(self, which: str) -> None:
        """A button other than Cancel."""
        raise NotImplementedError(which)  # why: a dialog with such a button says what it does

    def on_button_pressed(self, event: Button.Pressed) -> None:
        event.stop()
        if event.button.id == CANCEL.id:
            self.dismiss(None)
        else:
            self.answered(str(event.button.id))

    def action_list(self, move: str) -> None:
        """Move in the list that has the focus."""
        if isinstance(self.focused, OptionList):
            getattr(self.focused, f"action_{move}")()

    def action_cancel(self) -> None:
        self.dismiss(None)

    async def ask(self, question: Callable[[], T]) -> T:
        """The answer to a blocking question. It may come after the user closed the dialog:
        then the worker that asked ends here, since there is nothing left to show it on."""
        try:
            return await background.call(question, "dialog")
        finally:
            if self not in self.app.screen_stack:
                raise asyncio.CancelledError


def text(value: str, id: str | None = None, classes: str | None = None) -> Static:
    """Text drawn as it is."""
    return Static(Content(value), id=id, classes=classes)

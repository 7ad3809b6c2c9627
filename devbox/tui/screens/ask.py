"""Questions to the user: choose one of a list, type a line, confirm what costs or destroys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from textual.containers import VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Button, Input, OptionList, Static
from textual.widgets.option_list import Option

from devbox.errors import DevboxError
from devbox.text_layout import plain
from devbox.tui.screens.dialog import CANCEL, Answer, Dialog, text


class Item(NamedTuple):
    """key is what is returned; note stands behind the label."""

    key: str
    label: str
    note: str = ""


class Choose(Dialog[str]):
    answers = (CANCEL,)

    def __init__(self, title: str, items: Sequence[Item], note: str = "") -> None:
        super().__init__()
        self.title_text = title
        self._items, self._note = items, note

    def body(self) -> Iterable[Widget]:
        if self._note:
            yield text(self._note, id="facts")
        width = max((len(item.label) for item in self._items), default=0)
        options = [
            Option(
                Content.assemble(
                    (plain(item.label, 60).ljust(width), "bold"),
                    ("  " + plain(item.note, 200), "dim"),
                )
            )
            for item in self._items
        ]
        yield OptionList(*options, id="choices", compact=True)

    def on_mount(self) -> None:
        choices = self.query_one("#choices", OptionList)
        choices.focus()
        if self._items:
            choices.highlighted = 0

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.dismiss(self._items[event.option_index].key)


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


class Confirm(Dialog[str]):
    """facts: known at once, such as the cost. look: finds more lines, such as what is unsynced,
    while the dialog is open. Returns the id of the answer."""

    def __init__(
        self,
        title: str,
        facts: Sequence[str],
        answers: Sequence[Answer],
        look: Callable[[], list[str]] | None = None,
        looking: str = "looking what is unsynced …",
    ) -> None:
        super().__init__()
        self.title_text = title
        self.answers = (CANCEL, *answers)
        self._facts, self._look, self._looking = facts, look, looking

    def body(self) -> Iterable[Widget]:
        yield text("\n".join(plain(fact, 300) for fact in self._facts), id="facts")
        if self._look:
            with_scroll = VerticalScroll(text(self._looking, id="losses"))
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

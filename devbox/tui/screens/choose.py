"""Asks to choose one of a list: a job, a theme, what to sync."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from textual.content import Content
from textual.widget import Widget
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from devbox.text_layout import plain
from devbox.tui.screens.dialog import CANCEL, Dialog, text


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

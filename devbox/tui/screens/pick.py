"""Choose a file or folder of this computer: a line to type in, and what is there."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from devbox.text_layout import plain
from devbox.tui.screens.dialog import CANCEL, Answer, Dialog, text

_MOST = 500  # entries that are listed


class Pick(Dialog[str]):
    """start: where to begin; relative paths count from `root`. Returns the path as it stands in
    the line."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("h,left,backspace", "parent", "Parent", show=False),
        Binding("l,right", "enter", "Open", show=False),
    ]
    answers = (CANCEL, Answer("ok", "Take it"))
    title_text = "Choose a file or folder"

    def __init__(self, root: Path, start: str = "") -> None:
        super().__init__()
        self._root, self._start = root, start
        self._found: list[str] = []

    def body(self) -> Iterable[Widget]:
        yield text("type to narrow down; enter opens a folder, and takes a file", id="facts")
        yield Input(self._start, id="line", compact=True)
        yield OptionList(id="choices", compact=True)
        yield text("", id="wrong")

    def on_mount(self) -> None:
        self.query_one("#line", Input).focus()
        self._list()

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self._list()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if self._found and not event.value.endswith("/"):
            self._open(self._found[0])
        else:
            self.query_one("#choices").focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self._open(self._found[event.option_index])

    def answered(self, which: str) -> None:
        line = self.query_one("#line", Input).value
        if line and (self._root / Path(line).expanduser()).exists():
            self.dismiss(line.rstrip("/") or "/")
        else:
            self.query_one("#wrong", Static).update(Content(f"there is no {plain(line, 200)!r}"))

    def action_parent(self) -> None:
        line = self.query_one("#line", Input)
        up = line.value.rstrip("/").rpartition("/")[0]
        line.value = f"{up}/" if up or line.value.startswith("/") else "../"

    def action_enter(self) -> None:
        listing = self.query_one("#choices", OptionList)
        if listing.highlighted is not None and self._found:
            self._open(self._found[listing.highlighted])

    def _open(self, name: str) -> None:
        line = self.query_one("#line", Input)
        folder = line.value.rpartition("/")[0] + "/" if "/" in line.value else ""
        if name.endswith("/"):
            line.value = folder + name
            line.cursor_position = len(line.value)
        else:
            self.dismiss(folder + name)

    def _list(self) -> None:
        line = self.query_one("#line", Input).value
        folder, slash, part = line.rpartition("/")
        where = self._root / Path((folder + slash) or ".").expanduser()
        self.run_worker(self._look(where, part), exclusive=True)

    async def _look(self, where: Path, part: str) -> None:
        wrong = ""
        try:
            self._found = await self.ask(lambda: entries(where, part))
        except OSError as error:
            self._found, wrong = [], f"{where}: {error.strerror}"
        listing = self.query_one("#choices", OptionList)
        listing.clear_options()
        listing.add_options([Option(Content(plain(name, 200))) for name in self._found])
        listing.highlighted = 0 if self._found else None
        self.query_one("#wrong", Static).update(Content(plain(wrong, 300)))


def entries(folder: Path, part: str) -> list[str]:
    """What is in a folder and begins with `part` (case does not count): folders first, with '/';
    hidden ones where `part` begins with a dot. At most 500. OSError."""
    with os.scandir(folder) as found:
        named = [(entry.name, _is_folder(entry)) for entry in found]
    shown = [
        (not is_folder, name.lower(), name + ("/" if is_folder else ""))
        for name, is_folder in named
        if name.lower().startswith(part.lower()) and (part or not name.startswith("."))
    ]
    return [name for _, _, name in sorted(shown)[:_MOST]]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False

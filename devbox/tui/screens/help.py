"""All keys, from the registry, with what they mean and which are overridden."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widget import Widget

from devbox.model import BoxState
from devbox.text_layout import Line, wrapped
from devbox.tui import actions, symbols
from devbox.tui.screens.dialog import Answer, Dialog
from devbox.tui.static_lines import Lines

_KEYS, _TEXT, _IDS = 18, 46, 19  # columns


class Help(Dialog[str]):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "move(1)", "Down", show=False),
        Binding("k,up", "move(-1)", "Up", show=False),
        Binding("pagedown,space", "turn(1)", "Page down", show=False),
        Binding("pageup", "turn(-1)", "Page up", show=False),
        Binding("question_mark,q", "cancel", "Close", show=False),
    ]
    title_text = "Keys"
    answers = (Answer("cancel", "Close"),)

    def __init__(self, keymap: Mapping[str, str], settings: str) -> None:
        super().__init__()
        self._keymap, self._settings = keymap, settings

    def body(self) -> Iterable[Widget]:
        yield Lines(id="page")

    def on_mount(self) -> None:
        page = self.query_one(Lines)
        page.focus()

    def on_resize(self) -> None:
        page = self.query_one(Lines)
        page.show(listing(self._keymap, self._settings, page.size.width))

    def action_move(self, rows: int) -> None:
        self.query_one(Lines).move(rows)

    def action_turn(self, pages: int) -> None:
        page = self.query_one(Lines)
        page.move(pages * page.page)


def listing(keymap: Mapping[str, str], settings: str, width: int = 110) -> list[Line]:
    """The help's lines, for a page of that many columns."""
    lines: list[Line] = []
    for group, members in groupby(actions.ACTIONS, key=lambda action: action.group):
        lines += [[], [(f" {group}", "accent bold")]]
        for action in members:
            style = "warn bold" if action.id in keymap else "bold"
            keys = f"  {actions.keys(action, keymap):<{_KEYS}}"
            ids = width > _KEYS + _TEXT + _IDS
            about = wrapped(action.tooltip, width - _KEYS - 4 - (_IDS if ids else 0))
            lines.append([(keys, style), (f" {about[0]}", "")])
            lines[-1] += [(f"  ({action.id})", "dim")] if ids else []
            lines += [[(" " * (_KEYS + 3) + part, "")] for part in about[1:]]
    lines += [[], [(" States", "accent bold")]]
    for state in BoxState:
        shape, style = symbols.BOX[state]
        lines.append([(f"  {shape}  ", style), (str(state), "")])
    lines += [[], [(f" Keys and theme are set in {settings}", "dim")]]
    return lines[1:]

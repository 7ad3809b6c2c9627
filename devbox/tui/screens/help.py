"""All keys, from the registry, with what they mean and which are overridden."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widget import Widget

from devbox.model import BoxState
from devbox.tui import actions, marks
from devbox.tui.lines import Lines
from devbox.tui.paint import Line
from devbox.tui.screens.dialog import Answer, Dialog


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
        page.show(listing(self._keymap, self._settings))
        page.focus()

    def action_move(self, rows: int) -> None:
        self.query_one(Lines).move(rows)

    def action_turn(self, pages: int) -> None:
        page = self.query_one(Lines)
        page.move(pages * page.page)


def listing(keymap: Mapping[str, str], settings: str) -> list[Line]:
    """The help's lines."""
    lines: list[Line] = []
    for group, members in groupby(actions.ACTIONS, key=lambda action: action.group):
        lines += [[], [(f" {group}", "accent bold")]]
        for action in members:
            changed = action.id in keymap
            lines.append(
                [
                    (f"  {actions.keys(action, keymap):<18}", "warn bold" if changed else "bold"),
                    (f" {action.tooltip}", ""),
                    (f"  ({action.id})", "dim"),
                ]
            )
    lines += [[], [(" States", "accent bold")]]
    for state in BoxState:
        shape, style = marks.BOX[state]
        lines.append([(f"  {shape}  ", style), (str(state), "")])
    lines += [[], [(f" Keys and theme are set in {settings}", "dim")]]
    return lines[1:]

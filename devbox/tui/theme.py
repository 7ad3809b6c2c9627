"""The dashboard's own themes, and style names → colours of whatever theme is on.

Colours are Okabe and Ito's, which stay apart for every kind of colour blindness
(https://jfly.uni-koeln.de/color/); every state has its own shape as well, in `marks`.
"""

from __future__ import annotations

from typing import Any

from rich.color import Color as RichColor
from rich.style import Style
from textual.color import Color, ColorParseError
from textual.theme import Theme

DARK = Theme(
    name="devbox-dark",
    primary="#56B4E9",
    secondary="#CC79A7",
    accent="#56B4E9",
    warning="#E69F00",
    error="#F0703C",
    success="#2BB58B",
    foreground="#D6DCE2",
    background="#10151A",
    surface="#161D24",
    panel="#202A34",
    dark=True,
    variables={"border": "#33424F"},
)
LIGHT = Theme(
    name="devbox-light",
    primary="#0072B2",
    secondary="#A0497A",
    accent="#0072B2",
    warning="#9A6700",
    error="#B83A00",
    success="#00704F",
    foreground="#1C2329",
    background="#FAFBFC",
    surface="#F0F3F5",
    panel="#E1E7EC",
    dark=False,
    variables={"border": "#B8C4CE"},
)
THEMES = (DARK, LIGHT)

_VARIABLES = {
    "good": "success",
    "warn": "warning",
    "bad": "error",
    "busy": "warning",
    "info": "primary",
    "accent": "accent",
    "rest": "secondary",
}


class Palette:
    """Style names as rich styles over a widget's own colours. Made again when the theme changes."""

    def __init__(self, variables: dict[str, str], base: Style) -> None:
        self._variables, self._base = variables, base
        self._made: dict[str, Style] = {}

    def __getitem__(self, name: str) -> Style:
        found = self._made.get(name)
        if found is None:
            found = self._made[name] = self._base + self._style(name)
        return found

    def _style(self, name: str) -> Style:
        looks: dict[str, Any] = {}
        for word in name.split():
            if word in ("bold", "dim", "reverse", "underline", "italic"):
                looks[word] = True
            elif word in _VARIABLES:
                colour = _colour(self._variables.get(_VARIABLES[word], ""))
                looks |= {"color": colour} if colour else {}
            elif word.startswith("on:"):
                colour = _colour(self._variables.get(word[3:], ""))
                looks |= {"bgcolor": colour} if colour else {}
        return Style(**looks)


def _colour(value: str) -> RichColor | None:
    try:
        return Color.parse(value).rich_color
    except ColorParseError:
        return None

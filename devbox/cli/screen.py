"""Lines at the bottom of a terminal that are drawn again in place, below lines that stay.

Drawn here and not by rich.live: that costs a tenth of a second of every `up`, and hides the cursor,
which a devbox that is killed would leave hidden.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO, TypedDict

import click

from devbox.text_layout import Line, fit_line, width_of


class Style(TypedDict, total=False):
    """Of `click.style`."""

    fg: str | None
    bold: bool
    dim: bool


_EVERY = 0.1  # seconds
_COLOURS: dict[str, Style] = {
    "dim": {"dim": True},
    "good": {"fg": "green"},
    "bad": {"fg": "red"},
}
_USUAL = 80, 24


class Screen:
    """stream: a terminal. live: () → the lines to draw now. Each is cut to the terminal's width;
    the last ones that it has no room for are left out."""

    def __init__(self, stream: TextIO, live: Callable[[], list[Line]]) -> None:
        self._stream, self._live = stream, live
        self._turn = threading.RLock()
        self._drawn: list[int] = []  # widths of the lines on the terminal
        self._frame = ""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._redraw, daemon=True)
        self._thread.start()

    def say(self, line: Line) -> None:
        """A line that stays."""
        self.page(_styled(line))

    def page(self, text: str) -> None:
        """Text that stays, as it is."""
        with self._turn:
            self._write(self._erased() + text + "\n" + self._next())

    def close(self) -> None:
        """Leave the terminal with the lines that stay, and the cursor below them."""
        self._over.set()
        self._thread.join()
        with self._turn, suppress(OSError, ValueError):  # the terminal may be gone
            self._write(self._erased())

    def _redraw(self) -> None:
        # A terminal that is gone is told to whoever says something next.
        with suppress(OSError, ValueError):
            while not self._over.wait(_EVERY):
                with self._turn:
                    before, erased = self._frame, self._erased()
                    if (frame := self._next()) != before:
                        self._write(erased + frame)

    def _next(self) -> str:
        """The live lines as they are now; the cursor stays at the end of the last."""
        columns, rows = self._size()
        lines = self._live()[: max(1, rows - 1)]
        self._drawn = [min(width_of(line), columns - 1) for line in lines]
        self._frame = "\n".join(_styled(fit_line(line, columns - 1)) for line in lines)
        return self._frame

    def _erased(self) -> str:
        """What takes the live lines away. A terminal that became narrower has wrapped them."""
        columns, _ = self._size()
        rows = sum(max(1, math.ceil(width / columns)) for width in self._drawn)
        self._drawn = []
        return "\r" + (f"\x1b[{rows - 1}A" if rows > 1 else "") + "\x1b[J"

    def _size(self) -> tuple[int, int]:
        try:
            columns, rows = os.get_terminal_size(self._stream.fileno())
        except (OSError, ValueError):
            return _USUAL
        return columns if columns > 1 else _USUAL[0], rows or _USUAL[1]

    def _write(self, text: str) -> None:
        encoding = self._stream.encoding or "ascii"
        self._stream.write(text.encode(encoding, "replace").decode(encoding))
        self._stream.flush()


def can_redraw(stream: TextIO) -> bool:
    """Whether it is a terminal that can move its cursor."""
    return stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb")


def _styled(line: Line) -> str:
    return "".join(
        click.style(text, **_COLOURS[style]) if style else text for text, style in line
    ).rstrip()

"""`make recording`: a real `devbox demo` in a terminal, as an animated SVG for the README.

The program runs on a pseudo-terminal; what it prints is kept with its times, drawn on a screen of
text and written as one picture per change. Long waits are shortened: it lasts 30 seconds."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterable, Iterator
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs" / "images" / "demo.svg"
COLUMNS, ROWS = 104, 24
SECONDS = 30.0
_LONGEST = 1.5  # seconds that nothing changes
_SHORTEST = 0.2
_LAST = 4.0
_COLOURS = ("#45475a", "#f38ba8", "#a6e3a1", "#f9e2af", "#89b4fa", "#f5c2e7", "#94e2d5", "#bac2de")
_TOKEN = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|\r\n?|\n|[^\x1b\r\n]+")
_SVG = "http://www.w3.org/2000/svg"
_STYLE = """\
text { font: 14px ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace; fill: #cdd6f4;
  white-space: pre; }
.b { font-weight: bold }
#film { animation: film %.2fs steps(1, end) infinite }
@keyframes film { %s }
@media (prefers-reduced-motion) { #film { animation: none; transform: translateY(%dpx) } }
"""


class Run(NamedTuple):
    """Text of one style. colour: 0-7, or None for the terminal's own."""

    text: str
    bold: bool = False
    colour: int | None = None


Line = tuple[Run, ...]


class Frame(NamedTuple):
    """The screen from `at` (seconds) on."""

    at: float
    lines: tuple[Line, ...]


class Screen:
    """A terminal for programs that print lines and redraw the last one. ValueError for more."""

    def __init__(self, columns: int = COLUMNS, rows: int = ROWS) -> None:
        self._columns, self._rows = columns, rows
        self._lines: list[list[Run]] = [[]]
        self._column = 0
        self._bold, self._colour = False, None

    def feed(self, text: str) -> None:
        for token in _TOKEN.finditer(text):
            if token[2] == "m":
                self._style(token[1])
            elif token[2] == "K":
                del self._lines[-1][self._column :]
            elif token[2]:
                raise ValueError(f"the screen cannot do {token[0]!r}")
            elif token[0] == "\r":
                self._column = 0
            elif token[0][0] in "\r\n":
                self._down()
            else:
                self._print(token[0])

    def lines(self) -> tuple[Line, ...]:
        return tuple(_joined(line) for line in self._lines[-self._rows :])

    def _print(self, text: str) -> None:
        for character in text:
            if self._column == self._columns:
                self._down()
            cells = self._lines[-1]
            cells[self._column : self._column + 1] = [Run(character, self._bold, self._colour)]
            self._column += 1

    def _down(self) -> None:
        self._lines.append([])
        self._column = 0

    def _style(self, numbers: str) -> None:
        for number in (int(each or 0) for each in numbers.split(";")):
            if number in (0, 22):
                self._bold = False
            if number in (0, 39):
                self._colour = None
            if number == 1:
                self._bold = True
            if 30 <= number <= 37:
                self._colour = number - 30


def _joined(cells: Iterable[Run]) -> Line:
    runs: list[Run] = []
    for cell in cells:
        if runs and runs[-1][1:] == cell[1:]:
            runs[-1] = runs[-1]._replace(text=runs[-1].text + cell.text)
        else:
            runs.append(cell)
    return tuple(runs)


def frames(chunks: Iterable[tuple[float, str]]) -> list[Frame]:
    """The screens that chunks of output make, with the waits between them shortened. chunks: text
    and its second."""
    screen = Screen()
    seen: list[Frame] = []
    for at, text in chunks:
        screen.feed(text)
        if seen and at - seen[-1].at < _SHORTEST:
            seen[-1] = Frame(seen[-1].at, screen.lines())
        else:
            seen.append(Frame(at, screen.lines()))
    waits = [min(after.at - before.at, _LONGEST) for before, after in pairwise(seen)]
    factor = min(1.0, (SECONDS - _LAST) / sum(waits)) if waits else 1.0
    shown = [Frame(0.0, seen[0].lines)]
    for wait, frame in zip(waits, seen[1:], strict=True):
        shown.append(Frame(shown[-1].at + wait * factor, frame.lines))
    return shown


def svg(film: list[Frame]) -> str:
    """The frames as one picture: all of them under each other, moved up by one at its time."""
    height, width = ROWS * 18 + 24, COLUMNS * 8.5 + 32
    whole = film[-1].at + _LAST
    lines = dict.fromkeys(line for frame in film for line in frame.lines if line)
    names = {line: f"l{number}" for number, line in enumerate(lines)}
    keys = " ".join(
        f"{frame.at / whole:.3%} {{ transform: translateY({-number * height}px) }}"
        for number, frame in enumerate(film)
    )
    style = _STYLE % (whole, keys, -(len(film) - 1) * height)
    return "\n".join(
        [
            f'<svg xmlns="{_SVG}" role="img" viewBox="0 0 {width:.0f} {height}">',
            "<title>devbox demo in a terminal</title>",
            f"<style>{style}</style>",
            f'<rect width="100%" height="{height}" rx="8" fill="#1e1e2e"/>',
            "<defs>",
            *(f'<text id="{names[line]}">{_spans(line)}</text>' for line in lines),
            "</defs>",
            f'<svg width="{width:.0f}" height="{height}" overflow="hidden"><g id="film">',
            *_placed(film, names, height),
            "</g></svg>",
            "</svg>\n",
        ]
    )


def _placed(film: list[Frame], names: dict[Line, str], height: int) -> Iterator[str]:
    for number, frame in enumerate(film):
        rows = (
            f'<use href="#{names[line]}" x="16" y="{number * height + 26 + row * 18}"/>'
            for row, line in enumerate(frame.lines)
            if line
        )
        yield "".join(rows)


def _spans(line: Line) -> str:
    parts = []
    for run in line:
        fill = "" if run.colour is None else f' fill="{_COLOURS[run.colour]}"'
        bold = ' class="b"' if run.bold else ""
        text = escape(run.text, quote=False)
        parts.append(f"<tspan{bold}{fill}>{text}</tspan>" if fill or bold else text)
    return "".join(parts)


def record(words: list[str], folder: Path) -> Iterator[tuple[float, str]]:
    """What a program prints on a terminal, and when. SystemExit when it fails."""
    began = time.monotonic()
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    env = {**os.environ, "HOME": str(folder), "TERM": "xterm"}
    ends = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    with subprocess.Popen(words, cwd=folder, env=env, start_new_session=True, **ends) as program:
        os.close(theirs)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        while True:
            try:
                text = decoder.decode(os.read(ours, 1 << 16))
            except OSError:  # the program has ended, and nobody has the terminal any more
                break
            yield time.monotonic() - began, text
    os.close(ours)
    if program.returncode:
        raise SystemExit(f"{words[0]} ended with {program.returncode}")


def main() -> None:
    devbox = shutil.which("devbox", path=str(Path(sys.executable).parent)) or "devbox"
    with tempfile.TemporaryDirectory(prefix="demo", dir="/tmp") as folder:
        prompt = [(0.0, "$ "), (0.7, "devbox demo"), (1.4, "\r\n")]
        output = ((at + 1.5, text) for at, text in record([devbox, "demo"], Path(folder)))
        film = frames([*prompt, *output])
    TARGET.write_text(svg(film), encoding="utf-8")
    print(TARGET)


if __name__ == "__main__":
    main()

"""Line charts in braille: two values and four steps a character, with a scale and a time axis.
Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

from devbox.text_layout import Line, fit

AXIS = 6  # columns left of a chart
_MARKS = (0.75, 0.5, 0.25)

# A column of dots is a number whose lowest bit is the lowest dot. The braille pattern of a
# character follows from the four bits of its left and of its right column.
_LEFT, _RIGHT = (0x40, 0x04, 0x02, 0x01), (0x80, 0x20, 0x10, 0x08)
_SIGNS = [
    [
        chr(0x2800 + sum(_LEFT[n] for n in range(4) if left >> n & 1)
            + sum(_RIGHT[n] for n in range(4) if right >> n & 1))
        for right in range(16)
    ]
    for left in range(16)
]  # fmt: skip
_BLANK = _SIGNS[0][0]
_AREA = (int("01" * 400, 2), 0)  # the dots below the line, of a left and of a right column


# Measured with Textual 8.2, four of 120 values a turn: Sparkline takes 1.7 times the CPU of these
# charts (21 ms to 12), and has one row, no scale and no gaps.
def line_chart(
    values: Sequence[float],
    rows: int,
    top: float,
    mark: Callable[[float], str],
    style: str,
    seconds: float,
) -> list[Line]:
    """`rows` lines of a chart over half as many columns as there are values, oldest first, and
    below them its time axis: from `seconds` ago to now. A value that is NaN is a gap. mark: a
    value of the scale, at most five characters."""
    columns = len(values) // 2
    lines: list[Line] = []
    scale = _scale(rows, top, mark)
    for row, text in enumerate(_dots(values, rows, top)):
        label = scale.get(row, "")
        edge = fit(label, AXIS - 1, right=True) + ("┤" if label else "│")
        lines.append([(edge, "dim")])
        lines[-1] += _ruled(text, style) if label and 0 < row < rows - 1 else [(text, style)]
    corner = " " * (AXIS - 1) + "└"
    return [*lines, [(corner + time_axis(columns, seconds), "dim")]]


def time_axis(columns: int, seconds: float) -> str:
    """'5m ─── 4m ─── … ─── now': as many marks as fit."""
    whole = [n for n in (5, 4, 2) if columns >= n * 6 and seconds % (n * 60) == 0]
    steps = next(iter(whole), 1)
    axis = ["─"] * columns
    for step in range(steps + 1):
        ago = seconds * (steps - step) / steps
        text = f"{ago / 60:.0f}m" if ago else "now"
        at = min(columns - len(text), max(0, round(columns * step / steps) - len(text) // 2))
        axis[at : at + len(text)] = text
    return "".join(axis)[:columns]


def _scale(rows: int, top: float, mark: Callable[[float], str]) -> dict[int, str]:
    """What stands left of which row."""
    marks = _MARKS if rows >= 5 else ()
    placed = {rows - 1 - int(share * rows): mark(share * top) for share in marks}
    return {**placed, 0: mark(top), rows - 1: mark(0.0)}


def _ruled(text: str, style: str) -> Line:
    """A row with a mark: a dotted line where nothing is drawn."""
    line: Line = []
    blank = text[:1] == _BLANK
    begin = 0
    for at, sign in enumerate(text + "\0"):
        if (sign == _BLANK) != blank or at == len(text):
            piece = "┈" * (at - begin) if blank else text[begin:at]
            line.append((piece, "dim" if blank else style))
            begin, blank = at, not blank
    return line


def _dots(values: Sequence[float], rows: int, top: float) -> list[str]:
    """The characters of each row, the highest first."""
    highest = rows * 4 - 1
    columns: list[int] = []
    before = -1
    for index, value in enumerate(values):
        if math.isnan(value):
            columns.append(0)
            before = -1
            continue
        level = max(0, min(highest, round(value / top * highest))) if top else 0
        low, high = level, level
        if before >= 0:  # joined to the value before
            low, high = (before + 1, level) if before < level else (level, max(level, before - 1))
        dots = (1 << high + 1) - (1 << low)
        columns.append(dots | _AREA[index & 1] & ((1 << low) - 1))
        before = level
    signs = map(_column, columns[::2], columns[1::2], [rows] * (len(columns) // 2))
    return ["".join(row) for row in zip(*signs, strict=True)]


@lru_cache(maxsize=1 << 14)
def _column(left: int, right: int, rows: int) -> str:
    """The characters of one column, the highest first."""
    shifts = range(rows * 4 - 4, -1, -4)
    return "".join([_SIGNS[left >> shift & 15][right >> shift & 15] for shift in shifts])

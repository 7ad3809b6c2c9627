"""Drawing with characters: lines of (text, style name), bars, tables, cut to width. Pure.

Style names: "", bold, dim, good, warn, bad, busy, info, accent, and "NAME bold"; each front end has
its colours for them. Text is drawn as it is: nothing here reads markup.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Collection, Sequence

from devbox.text import clean, size

Line = list[tuple[str, str]]

_PARTS = " ▏▎▍▌▋▊▉█"


def plain(text: str, limit: int = 200) -> str:
    """Untrusted text as one harmless line."""
    return clean(text, limit).replace("\n", " ").replace("\t", " ")


def cells(text: str) -> int:
    """How wide it is on a terminal."""
    if text.isascii() or text.replace("–", "-").isascii():
        return len(text)
    from rich.cells import cell_len  # here: 10 ms that `devbox ls` does without

    return cell_len(text)


def fit(text: str, width: int, *, right: bool = False) -> str:
    """Exactly `width` cells: cut with an ellipsis, or padded."""
    if width <= 0:
        return ""
    length = cells(text)
    if length > width:
        text = (text[: width - 1] if text.isascii() else _cut(text, width - 1)) + "…"
        length = width
    pad = " " * (width - length)
    return pad + text if right else text + pad


def _cut(text: str, width: int) -> str:
    from rich.cells import set_cell_size

    return set_cell_size(text, width)


def fit_line(line: Line, width: int) -> Line:
    """The line cut to `width` cells, or padded to it."""
    out: Line = []
    left = width
    for text, style in line:
        length = cells(text)
        if length >= left:
            out.append((fit(text, left) if length > left else text, style))
            return out
        out.append((text, style))
        left -= length
    out.append((" " * left, ""))
    return out


def wrapped(text: str, width: int) -> list[str]:
    """The text in pieces of at most `width` characters, broken between words; one at least."""
    return textwrap.wrap(text, max(10, width)) or [""]


def width_of(line: Line) -> int:
    return sum(cells(text) for text, _ in line)


# Measured with Textual 8.2, at every turn: ProgressBar takes ten times the CPU of a bar (2.5 ms to
# 0.24), and is a widget of its own, which cannot stand in a line of a table.
def bar(percent: float | None, width: int, *, style: str = "") -> Line:
    """A bar of `width` cells, dotted where empty; unknown is all dots."""
    if width <= 0:
        return []
    if percent is None or math.isnan(percent):
        return [("·" * width, "dim")]
    share = min(100.0, max(0.0, percent)) / 100 * width
    whole = int(share)
    rest = int((share - whole) * 8)
    full = "█" * whole + (_PARTS[rest] if whole < width and rest else "")
    return [(full, style or level(percent)), ("·" * (width - len(full)), "dim")]


def level(percent: float) -> str:
    """The style of a share: more is more alarming only where it is full."""
    return "bad" if percent >= 95 else "warn" if percent >= 80 else "good"


def share(used: float | None, total: float | None) -> float | None:
    """Per cent; None when either is unknown."""
    return 100 * used / total if used is not None and total else None


def rate(per_second: float | None) -> str:
    """Bytes a second."""
    return "–" if per_second is None else size(per_second) + "/s"


def percent(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.0f}%"


def table(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> list[str]:
    """Rows of cells as lines with aligned columns. right: columns aligned to the right."""
    wide = [_widths(row) for row in rows]
    widths = [max(column) for column in zip(*wide, strict=True)]
    lines = []
    for row, lengths in zip(rows, wide, strict=True):
        parts = []
        for index, (cell, length, width) in enumerate(zip(row, lengths, widths, strict=True)):
            pad = " " * (width - length)
            parts.append(pad + cell if index in right else cell + pad)
        lines.append("  ".join(parts).rstrip())
    return lines


def _widths(row: Sequence[str]) -> list[int]:
    """How wide its cells are: most rows are plain, and are looked at as one."""
    if "".join(row).replace("–", "-").isascii():
        return [*map(len, row)]
    return [*map(cells, row)]


def beside(blocks: Sequence[Sequence[Line]], widths: Sequence[int], gap: int = 2) -> list[Line]:
    """Blocks of lines next to each other."""
    rows = max((len(block) for block in blocks), default=0)
    out: list[Line] = []
    for row in range(rows):
        line: Line = []
        for index, (block, width) in enumerate(zip(blocks, widths, strict=True)):
            line += fit_line(block[row] if row < len(block) else [], width)
            if index + 1 < len(blocks):
                line.append((" " * gap, ""))
        out.append(line)
    return out

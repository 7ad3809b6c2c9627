"""The report as an SVG picture: a bar per measurement, against the published figure where there is
one, else among those of the same unit."""

from __future__ import annotations

from html import escape
from typing import Dict, List, Optional, TypedDict

_ROW, _LEFT, _BAR, _WIDTH = 26, 250, 330, 860


class Row(TypedDict):
    """One measurement: value is None where it was not measured, and note says why. published: what
    its sheet says, in the same unit."""

    name: str
    value: Optional[float]
    unit: str
    published: Optional[float]
    note: str


class Machine(TypedDict):
    cpu: str
    cores: Optional[int]
    memory_gb: float
    gpus: List[str]
    torch: Optional[str]


class Published(TypedDict):
    as_of: str
    sources: List[str]


class Report(TypedDict):
    """gpu-check.json."""

    title: str
    note: str
    date: str
    machine: Machine
    published: Published
    measures: List[Row]


def svg(report: Report) -> str:
    rows = report["measures"]
    height = 96 + _ROW * len(rows)
    most: Dict[str, float] = {}
    for row in rows:
        if row["value"] is not None:
            most[row["unit"]] = max(most.get(row["unit"], 0.0), row["value"])
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        _text(16, 28, report["title"], size=17),
        _text(16, 50, report["note"], fill="#555555"),
    ]
    for number, row in enumerate(rows):
        top = 66 + _ROW * number
        lines.append(_text(16, top + 15, row["name"]))
        if row["value"] is None:
            lines.append(
                _text(_LEFT, top + 15, f"not measured: {row['note']}"[:90], fill="#777777")
            )
            continue
        whole = row["published"] or most[row["unit"]] or 1.0
        width = round(_BAR * min(1.0, row["value"] / whole), 1)
        if row["published"]:
            lines.append(_bar(top, _BAR, "#e3e3e3"))
        lines.append(_bar(top, width, "#0072b2" if row["published"] else "#8cb8d4"))
        lines.append(_text(_LEFT + _BAR + 10, top + 15, said(row)))
    return "\n".join([*lines, "</svg>"]) + "\n"


def said(row: Row) -> str:
    """'412 TFLOP/s, 42% of 989', of one that was measured."""
    value, published = row["value"], row["published"]
    assert value is not None
    text = f"{value:.4g} {row['unit']}"
    if published:
        text += f", {100 * value / published:.0f}% of {published:g}"
    return text


def _bar(top: int, width: float, fill: str) -> str:
    return f'<rect x="{_LEFT}" y="{top}" width="{width}" height="19" fill="{fill}"/>'


def _text(x: int, y: int, text: str, *, size: int = 13, fill: str = "#111111") -> str:
    return f'<text x="{x}" y="{y}" font-size="{size}" fill="{fill}">{escape(text)}</text>'

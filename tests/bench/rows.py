"""A benchmark row: what was measured, the named peer, and the goal. Medians of paired runs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple


class Row(NamedTuple):
    """ours, peer: medians in the row's unit. value: what is held against the goal (a ratio to the
    peer, or `ours` itself). ok None: informative, no goal."""

    name: str
    ours: str
    peer: str
    value: str
    goal: str
    ok: bool | None


def seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def paired(
    ours: Callable[[], object], peer: Callable[[], object], *, runs: int
) -> tuple[float, float, float]:
    """Medians of both in seconds and the median of the ratios ours/peer, run in turns so that
    the machine's mood falls on both. One pair before counts as warming up."""
    ours(), peer()
    pairs = [(seconds(ours), seconds(peer)) for _ in range(runs)]
    return (
        statistics.median(a for a, _ in pairs),
        statistics.median(b for _, b in pairs),
        statistics.median(a / b for a, b in pairs),
    )


def median(action: Callable[[], object], *, runs: int) -> float:
    """Median seconds, after one run to warm up."""
    action()
    return statistics.median(seconds(action) for _ in range(runs))


def ms(value: float) -> str:
    return f"{value * 1000:.0f} ms" if value < 10 else f"{value:.1f} s"


def table(rows: list[Row]) -> str:
    """The rows as a Markdown table."""
    head = ("what", "ours", "peer", "measured", "goal", "met")
    mark = {True: "yes", False: "NO", None: ""}
    cells = [head, *((*row[:5], mark[row.ok]) for row in rows)]
    widths = [max(len(cell[i]) for cell in cells) for i in range(len(head))]
    lines = [" | ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)) for r in cells]
    rule = "-|-".join("-" * width for width in widths)
    return "\n".join(f"| {line} |" for line in (lines[0], rule, *lines[1:]))

"""What the Load tab draws of a box's last minutes: which measurements, how large, on which scale.
Pure."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from devbox.text import duration
from devbox.text_layout import Line, beside, rate
from devbox.tui import plot
from devbox.tui.history import History

_GAP = 2
_LEAST = 3  # rows of a chart without its heading and its axis


class Measure(NamedTuple):
    """series: as in `History`. top: the end of the scale, None to fit it to what was measured.
    text: a value, mark: one of the scale."""

    title: str
    series: str
    style: str
    top: float | None
    text: Callable[[float], str]
    mark: Callable[[float], str]


def _unit(unit: str) -> tuple[Callable[[float], str], Callable[[float], str]]:
    return lambda value: f"{value:.0f}{unit}", lambda value: f"{value:.0f}{unit}"


def _three(value: float) -> str:
    """In three digits at most."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _bytes(value: float) -> str:
    power = _power(value)
    return _three(value / 1024**power) + " KMGTP"[power].strip()


def _watts(value: float) -> str:
    return f"{_three(value / 1000)}kW" if value >= 10_000 else f"{value:.0f}W"


_MACHINE = (
    Measure("CPU", "cpu", "info", 100.0, *_unit("%")),
    Measure("Memory", "mem", "good", 100.0, *_unit("%")),
    Measure("Disk r+w", "disk", "warn", None, rate, _bytes),
    Measure("Network ↓+↑", "net", "rest", None, rate, _bytes),
)
_GPU = (
    Measure("use", "util", "info", 100.0, *_unit("%")),
    Measure("VRAM", "mem", "good", 100.0, *_unit("%")),
    Measure("Power", "power", "warn", None, lambda value: f"{value:.0f} W", _watts),
    Measure("Temperature", "temp", "rest", 100.0, *_unit("°C")),
)


def charts(history: History, gpu: int | None, window: float, width: int, height: int) -> list[Line]:
    """Use, VRAM, power and temperature of the GPUs, or of that one; without any CPU, memory, disk
    and network. As tall as `height` rows for all of them allow."""
    measures = _GPU if history.gpus else _MACHINE
    across = 4 if width >= 150 and height < 22 else 2 if width >= 60 else 1
    down = -(-len(measures) // across)
    room = (width - _GAP * (across - 1)) // across
    lines: list[Line] = []
    for row in range(down):
        rows = height // down + (row < height % down) - 2
        blocks = [
            _block(measure, history, gpu, window, room, max(_LEAST, rows))
            for measure in measures[row * across : (row + 1) * across]
        ]
        lines += beside(blocks, [room] * len(blocks), _GAP)
    return lines


def _block(
    measure: Measure, history: History, gpu: int | None, window: float, width: int, rows: int
) -> list[Line]:
    """A heading and a chart."""
    dots = 2 * (width - plot.AXIS)
    if not history.gpus:
        values, title = history.window(measure.series, window, dots), measure.title
    elif gpu is None:
        values = history.combined(measure.series, window, dots)
        title = _titled(measure.title, "GPU" if history.gpus == 1 else "GPUs")
    else:
        values = history.window(f"{gpu}.{measure.series}", window, dots)
        title = _titled(measure.title, f"GPU {gpu}")
    values = values or [math.nan] * dots
    known = [value for value in values if not math.isnan(value)]
    highest = max(known, default=0.0)
    past = f"last {duration(window).removesuffix('00s').removesuffix('00m')}"
    latest = measure.text(known[-1]) if known else "–"
    most = f"max {measure.text(highest)}  {past}" if known else past
    head: Line = [(f" {title} ", "accent bold"), (latest, "bold")]
    gap = width - len(title) - len(latest) - len(most) - 2
    if gap > 0:
        head += [(" " * gap, ""), (most, "dim")]
    if measure.top is not None:
        top = measure.top
    elif measure.mark is _bytes:
        top = _round_up(highest / 1024 ** _power(highest)) * 1024 ** _power(highest)
    else:
        top = _round_up(highest)
    return [head, *plot.line_chart(values, rows, top, measure.mark, measure.style, window)]


def _titled(title: str, whose: str) -> str:
    return f"{whose} {title}" if title == "use" else title


def _power(value: float) -> int:
    """Of 1024, so that a number of bytes has few digits."""
    return min(5, int(math.log(value, 1024))) if value >= 1024 else 0


def _round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, 20, …: a scale that does not move with every sample."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value)

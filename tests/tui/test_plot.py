"""Charts: what is drawn of which values, on which scale, in every size."""

from __future__ import annotations

import math

import pytest

from devbox.text_layout import Line, width_of
from devbox.tui.charts import charts
from devbox.tui.history import History
from devbox.tui.plot import AXIS, line_chart, time_axis
from tests.tui import fakes

NAN = math.nan


def drawn(lines: list[Line]) -> list[str]:
    return ["".join(text for text, _ in line) for line in lines]


def chart(values: list[float], rows: int, seconds: float = 300.0) -> list[str]:
    return drawn(line_chart(values, rows, 100.0, lambda value: f"{value:.0f}%", "info", seconds))


def test_a_line_is_joined_and_nothing_is_drawn_differently_from_not_measured() -> None:
    rows = chart([0.0, 0.0, 100.0, 100.0, NAN, NAN, 250.0, 0.0], 2)
    plots = [row[AXIS:] for row in rows[:-1]]
    assert plots == ["⠀⡏⠀⣳", "⣀⡇⠀⣺"]


def test_one_value_alone_and_none_at_all() -> None:
    assert chart([NAN, 50.0, NAN, NAN], 1)[0][AXIS:] == "⠐⠀"
    assert set("".join(row[AXIS:] for row in chart([NAN] * 8, 3)[:-1])) <= {"⠀", "┈"}


@pytest.mark.parametrize(
    ("rows", "marks"), [(1, ["0%"]), (2, ["100%", "0%"]), (4, ["100%", "0%"]),
                        (5, ["100%", "75%", "50%", "25%", "0%"]),
                        (24, ["100%", "75%", "50%", "25%", "0%"])],
)  # fmt: skip
def test_marks_of_the_scale(rows: int, marks: list[str]) -> None:
    lines = chart([NAN] * 40, rows)
    assert [line[: AXIS - 1].strip() for line in lines[:-1] if line[: AXIS - 1].strip()] == marks
    ruled = [line[: AXIS - 1].strip() for line in lines[:-1] if "┈" in line]
    assert ruled == [mark for mark in marks if mark in ("75%", "50%", "25%")]


@pytest.mark.parametrize("width", [1, 4, 9, 20, 53, 160])
@pytest.mark.parametrize("seconds", [300.0, 3600.0])
def test_the_axis_has_its_width_and_ends_now(width: int, seconds: float) -> None:
    axis = time_axis(width, seconds)
    assert len(axis) == width
    if width >= 20:
        assert axis.startswith(f"{seconds / 60:.0f}m")
        assert axis.endswith("now")
    if width >= 53:
        assert [mark for mark in axis.replace("─", " ").split() if mark != "now"] == (
            ["5m", "4m", "3m", "2m", "1m"]
            if seconds == 300
            else ["60m", "48m", "36m", "24m", "12m"]
        )


@pytest.mark.parametrize("gpus", [0, 1, 8])
@pytest.mark.parametrize("width", [40, 78, 98, 158])
@pytest.mark.parametrize("height", [4, 14, 31, 60])
def test_charts_fill_their_room(gpus: int, width: int, height: int) -> None:
    history = History()
    for second in range(60):
        history.put(fakes.sample(second, fakes.NOW + second, gpus))
    lines = charts(history, None, 300.0, width, height)
    assert all(width_of(line) <= width for line in lines)
    down = len([line for line in drawn(lines) if line.strip().endswith("now")])
    assert len(lines) == max(height, down * 5)


def test_a_box_without_gpus_shows_its_traffic_on_a_scale_of_bytes() -> None:
    history = History()
    for second in range(60):
        history.put(fakes.sample(second, fakes.NOW + second))
    text = "\n".join(drawn(charts(history, None, 300.0, 120, 40)))
    for part in ("CPU 46%", "Memory 42%", "Disk r+w 87.1 MB/s", "Network ↓+↑ 23.1 MB/s", " 100M┤",
                 "  75M┤", "  50M┤", "  25M┤", "    0┤"):  # fmt: skip
        assert part in text

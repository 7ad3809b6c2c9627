"""The terminal recording of the README: drawn as the terminal showed it, and small."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tools import recording
from tools.recording import Frame, Run, Screen

SHIPPED = recording.TARGET


def text(frame: Frame) -> list[str]:
    return ["".join(run.text for run in line) for line in frame.lines]


def test_the_screen_redraws_wraps_scrolls_and_colours() -> None:
    screen = Screen(columns=5, rows=3)
    screen.feed("a\r\n\x1b[1mb\x1b[0m\x1b[36mc\x1b[39m\r\nold!\r\x1b[Knew\r\n1234567")
    assert screen.lines() == ((Run("new"),), (Run("12345"),), (Run("67"),))
    screen = Screen()
    screen.feed("\x1b[1mb\x1b[0m\x1b[36mc\x1b[39md")
    assert screen.lines() == ((Run("b", bold=True), Run("c", colour=6), Run("d")),)
    with pytest.raises(ValueError, match="cannot"):
        screen.feed("\x1b[2J")


def test_waits_are_shortened_and_quick_changes_are_one_picture() -> None:
    film = recording.frames([(0, "a"), (0.1, "b"), (100, "c"), (101, "d")])
    assert [text(frame) for frame in film] == [["ab"], ["abc"], ["abcd"]]
    assert [frame.at for frame in film] == [0, 1.5, 2.5]
    long = recording.frames((n, ".") for n in range(500))
    assert long[-1].at + 4 == pytest.approx(recording.SECONDS)


def test_a_program_is_recorded_as_on_a_terminal(tmp_path: Path) -> None:
    words = [sys.executable, "-c", "import os; print(os.isatty(1), os.get_terminal_size(), '<&')"]
    film = recording.frames(recording.record(words, tmp_path))
    assert text(film[-1])[0] == "True os.terminal_size(columns=104, lines=24) <&"
    drawn = ElementTree.fromstring(recording.svg(film))
    assert "<&" in "".join(drawn.itertext())
    with pytest.raises(SystemExit):
        list(recording.record([sys.executable, "-c", "raise SystemExit(3)"], tmp_path))


def test_the_shipped_recording_is_whole_small_and_asks_no_server() -> None:
    drawn = ElementTree.fromstring(SHIPPED.read_text(encoding="utf-8"))
    shown = "".join(drawn.itertext())
    for command in (
        "devbox demo",
        "devbox up demo",
        "devbox run track",
        "devbox down demo",
        "done in",
    ):
        assert command in shown
    assert "film 30.00s" in shown
    assert SHIPPED.stat().st_size < 100_000
    links = {value for node in drawn.iter() for key, value in node.items() if key.endswith("href")}
    assert all(link.startswith("#") for link in links)
    assert "url(" not in shown

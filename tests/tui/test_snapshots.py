"""What whole screens look like, as SVG. To accept a change: SNAPSHOTS=write make test (or
this file alone), look at the pictures under tests/tui/snapshots, and commit them."""

from __future__ import annotations

import os
import re
from pathlib import Path

from devbox.model import BoxState
from tests.tui import fakes
from tests.tui.conftest import Open
from tests.tui.driver import Driven

FOLDER = Path(__file__).parent / "snapshots"


async def _same(it: Driven, name: str) -> None:
    it.app.clear_notifications()
    await it.pilot.pause()
    svg = re.sub(r"terminal-\d+", "terminal", it.app.export_screenshot(title="devbox"))
    file = FOLDER / f"{name}.svg"
    if os.environ.get("SNAPSHOTS") == "write":
        FOLDER.mkdir(exist_ok=True)
        file.write_text(svg)
    if svg != file.read_text():
        got = Path(os.environ["HOME"]).parent / f"devbox-snapshot-{name}.svg"
        got.write_text(svg)
        raise AssertionError(f"{name} looks different: compare {file} with {got}")


def _hundred() -> fakes.FakeFeed:
    states = list(BoxState)
    views = [fakes.view(f"box-{n:03}", states[n % len(states)], today=n * 1000) for n in range(100)]
    feed = fakes.FakeFeed(views)
    for view in views:
        if view.box.state is BoxState.RUNNING:
            feed.fill(view, 8, 60)
    return feed


async def test_wide(dashboard: Open) -> None:
    async with dashboard(size=(160, 48)) as it:
        await it.select("train")
        await it.turn()
        await _same(it, "wide")


async def test_narrow(dashboard: Open) -> None:
    async with dashboard(size=(80, 24)) as it:
        await it.select("train")
        await it.press("2")
        await it.turn()
        await _same(it, "narrow")


async def test_empty(dashboard: Open) -> None:
    async with dashboard(feed=fakes.FakeFeed(), size=(100, 30)) as it:
        await it.turn()
        await _same(it, "empty")


async def test_error(dashboard: Open) -> None:
    feed = fakes.fleet()
    feed.error = "unreachable: the Hub answered 503"
    async with dashboard(feed=feed, size=(120, 36)) as it:
        await it.select("broken")
        await it.turn()
        await _same(it, "error")


async def test_a_hundred_boxes(dashboard: Open) -> None:
    async with dashboard(feed=_hundred(), size=(140, 40)) as it:
        await it.turn()
        await _same(it, "hundred")


async def test_confirm(dashboard: Open) -> None:
    async with dashboard(size=(100, 30)) as it:
        await it.select("train")
        await it.press("ctrl+d")
        await it.until(lambda: "model.pt" in it.text)
        await _same(it, "confirm")

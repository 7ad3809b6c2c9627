"""The real feed on real local boxes: what happens elsewhere shows, cuts keep their last value,
and leaving is quick and leaves nothing behind."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import pytest_asyncio
from msgspec.structs import replace

from devbox import lifecycle
from devbox.model import BoxState
from devbox.remote.config import ssh_config
from devbox.tui import background
from devbox.tui.app import Dashboard
from devbox.tui.live_feed import LiveFeed
from devbox.tui.operation_manager import Operations
from devbox.tui.queries import Asks
from devbox.tui.settings import Settings
from devbox.workspace import Workspace
from tests import warm
from tests.processes import alive, command_line

pytestmark = pytest.mark.real_time

TOML = "[boxes.b]\n[boxes.other]\n[providers.local]\nprice = 1.0\n"
SOON = 2.0  # seconds within which a change made elsewhere shows
QUIT = 2.0  # seconds to leave twenty streams, on a machine that is busy with other tests


@pytest.fixture
def ws(home: Path) -> Iterator[Workspace]:
    folder = home / "project"
    folder.mkdir()
    (folder / "devbox.toml").write_text(TOML)
    made = Workspace.open(folder)
    yield made
    for box in made.store.boxes.all():
        if not box.id.endswith("-clone"):
            lifecycle.down(made, box, save=False)
    made.store.close()


@pytest_asyncio.fixture
async def feed(ws: Workspace) -> AsyncIterator[LiveFeed]:
    made = LiveFeed(ws.spec.root)
    await made.start()
    yield made
    await made.stop()


async def until(feed: LiveFeed, condition: Callable[[], object], seconds: float = 120.0) -> float:
    """Tick as the dashboard does; how long it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, feed.views
        feed.tick()
        await asyncio.sleep(0.1)
    return time.monotonic() - began


def state(feed: LiveFeed, name: str = "b") -> BoxState | None:
    return next((v.box.state for v in feed.views if v.box.name == name), None)


async def test_what_another_terminal_does_shows_within_two_seconds(
    feed: LiveFeed, ws: Workspace
) -> None:
    box = await asyncio.to_thread(lifecycle.up, ws, "b")
    took = await until(feed, lambda: state(feed) is BoxState.RUNNING)
    assert took <= SOON
    assert feed.views[0].micro == 1_000_000
    await until(feed, lambda: (cell := feed.cell(box.id)) and cell.sample)
    feed.look(box.id, [box.id], "load")
    await until(feed, lambda: feed.verdict(box.id))
    await until(feed, lambda: feed.totals.today)
    await asyncio.to_thread(lifecycle.pause, ws, box)
    assert await until(feed, lambda: state(feed) is BoxState.PAUSED) <= SOON
    await asyncio.to_thread(lifecycle.down, ws, ws.box("b"))
    assert await until(feed, lambda: state(feed) is None) <= SOON


async def test_what_the_watchdog_does_shows_within_two_seconds(
    feed: LiveFeed, ws: Workspace
) -> None:
    box = await asyncio.to_thread(lifecycle.up, ws, "b")
    await until(feed, lambda: (cell := feed.cell(box.id)) and cell.sample)
    recipe = ws.provider("local").watchdog(box.handle)
    assert recipe
    subprocess.run(recipe.argv, check=True)
    provider = ws.provider("local")
    while (seen := provider.observe(box.handle)) and seen.state is BoxState.RUNNING:
        await asyncio.sleep(0.02)
    # from when it is off; the stream's end is what tells
    assert await until(feed, lambda: state(feed) is BoxState.PAUSED) <= SOON


async def test_a_lost_stream_keeps_its_last_value_and_comes_back(
    feed: LiveFeed, ws: Workspace
) -> None:
    box = await asyncio.to_thread(lifecycle.up, ws, "b")
    await until(feed, lambda: (cell := feed.cell(box.id)) and cell.sample)
    cell = feed.cell(box.id)
    assert cell
    before = cell.sample
    for process in psutil.Process().children(recursive=True):
        if "stream" in command_line(process):
            with suppress(psutil.NoSuchProcess):
                process.kill()
    await until(feed, lambda: cell.status == "cut" or cell.sample is not before)
    assert cell.sample
    await until(feed, lambda: cell.status == "live" and cell.sample is not before)


async def test_a_selected_box_shows_its_past(feed: LiveFeed, ws: Workspace) -> None:
    box = await asyncio.to_thread(lifecycle.up, ws, "b")
    await until(feed, lambda: (cell := feed.cell(box.id)) and cell.sample)
    history = feed.history(box.id)
    assert history
    feed.look(box.id, [box.id], "load")

    def known() -> int:
        return sum(not math.isnan(value) for value in history.window("cpu", 60, 60))

    await until(feed, lambda: known() >= 3)


async def test_a_broken_state_file_is_told_not_thrown(feed: LiveFeed, ws: Workspace) -> None:
    await asyncio.to_thread(lifecycle.up, ws, "b")
    await until(feed, lambda: state(feed) is BoxState.RUNNING)
    for view in feed.views:
        assert feed.runs(view.box.id) == []
        assert feed.events(view.box.id)


async def test_quit_is_quick_with_twenty_streams_and_leaves_no_process(ws: Workspace) -> None:
    """Twenty tracked boxes that are one real box, in the real dashboard."""
    box = await asyncio.to_thread(lifecycle.up, ws, "b")
    for number in range(19):
        clone = replace(box, id=f"{box.id}-{number}-clone", name=f"b{number}")
        ws.store.boxes.finish(ws.store.boxes.insert(clone, "running", {}, 0.0), "done", 0.0)
    ssh_config.publish(ws.store.boxes.all)
    feed = LiveFeed(ws.spec.root)
    app = Dashboard(feed, Asks(ws.spec.root), Operations(ws.spec.root), Settings())
    before = _children()
    async with app.run_test() as pilot:
        deadline = time.monotonic() + 90
        while len([v for v in feed.views if (c := feed.cell(v.box.id)) and c.sample]) < 20:
            assert time.monotonic() < deadline
            await pilot.pause(0.1)
        assert len(_children() - before) >= 20
        began = time.monotonic()
        await pilot.press("q")
        while not app._exit:
            await asyncio.sleep(0.005)
        took = time.monotonic() - began
    assert _children() - before == set()
    print(f"quit took {took:.2f} s")
    assert took <= QUIT


def _children() -> set[int]:
    found = psutil.Process().children(recursive=True)
    return {child.pid for child in found if alive(child)}


async def test_a_question_that_hangs_never_holds_up_the_end() -> None:
    code = (
        "import asyncio, subprocess, time\n"
        "from devbox.tui import background\n"
        "async def main():\n"
        "    hung = asyncio.create_task(background.call(lambda: subprocess.run(['sleep', '60'])))\n"
        "    await asyncio.sleep(0.3)\n"
        "    hung.cancel()\n"
        "    background.end_children()\n"
        "asyncio.run(main())\n"
    )
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ})
    assert await asyncio.to_thread(process.wait, 20) == 0
    assert time.monotonic() - began < 10
    assert [p for p in psutil.process_iter(["cmdline", "ppid"])
            if p.info["ppid"] == process.pid] == []  # fmt: skip


async def test_a_question_that_is_cut_off_sees_how_its_program_ended() -> None:
    """One that is reaped elsewhere would look like a program that ended well without an answer."""
    process = subprocess.Popen(["sleep", "60"])
    waiting = asyncio.create_task(background.call(process.wait))
    await asyncio.sleep(0)
    warm.run([sys.executable, "-m", "devbox.cli.main", "--version"], capture_output=True)
    await asyncio.to_thread(background.end_children)
    assert await waiting == -signal.SIGTERM
    again = warm.run([sys.executable, "-m", "devbox.cli.main", "--version"], capture_output=True)
    assert again.returncode == 0, "programs of other tests still begin"


async def test_answers_and_errors_come_back_from_the_thread() -> None:
    assert await background.call(lambda: 42) == 42
    with pytest.raises(ZeroDivisionError):
        await background.call(lambda: 1 // 0)

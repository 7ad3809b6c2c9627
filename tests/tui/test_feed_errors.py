"""What goes wrong in the background is told in the feed, and the loops continue."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from devbox import lifecycle
from devbox.model import Box, BoxState
from devbox.tui.live_feed import LiveFeed
from devbox.tui.streams import Streams
from devbox.workspace import Workspace
from tests.tui import fakes


@pytest.fixture
def ws(home: Path) -> Iterator[Workspace]:
    folder = home / "project"
    folder.mkdir()
    (folder / "devbox.toml").write_text("[boxes.b]\n[providers.local]\nprice = 1.0\n")
    made = Workspace.open(folder)
    yield made
    for box in made.store.boxes.all():
        lifecycle.down(made, box, save=False)
    made.close()


@pytest.fixture
def box(ws: Workspace) -> Box:
    return lifecycle.up(ws, "b")


@pytest_asyncio.fixture
async def feed(ws: Workspace) -> AsyncIterator[LiveFeed]:
    made = LiveFeed(ws.spec.root)
    yield made
    await made.stop()


async def _until(feed: LiveFeed, condition: Callable[[], object]) -> None:
    """Tick as the dashboard does."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < 30.0, (feed.error, feed.views)
        feed.tick()
        await asyncio.sleep(0.05)


def _sql(ws: Workspace, statement: str) -> None:
    with ws.store.database.write() as connection:
        connection.execute(statement)


async def test_a_state_file_that_refuses_an_answer_is_told_and_asked_again(
    ws: Workspace, box: Box, feed: LiveFeed
) -> None:
    await feed.start()
    _sql(
        ws,
        "CREATE TRIGGER refusing BEFORE UPDATE ON boxes "
        "BEGIN SELECT RAISE(ABORT, 'refused here'); END",
    )
    feed.hurry([box.id])
    await _until(feed, lambda: "refused here" in feed.error)
    assert feed.views[0].box.state is BoxState.RUNNING
    ws.provider_of(box).terminate(box.handle)
    _sql(ws, "DROP TRIGGER refusing")
    feed.hurry([box.id])
    await _until(feed, lambda: feed.views[0].box.state is BoxState.LOST)
    await _until(feed, lambda: not feed.error)


@pytest.mark.parametrize("table", ["runs", "intervals", "intents", "events"])
async def test_a_state_file_that_cannot_be_read_for_a_while_ends_no_loop(
    ws: Workspace, box: Box, feed: LiveFeed, table: str
) -> None:
    await feed.start()
    _sql(ws, f"ALTER TABLE {table} RENAME TO away")

    def told() -> bool:
        assert feed.runs(box.id) == []
        assert bool(feed.events(box.id)) is (table != "events")
        return f"no such table: {table}" in feed.error

    await _until(feed, told)
    assert [view.box.id for view in feed.views] == [box.id]
    _sql(ws, f"ALTER TABLE away RENAME TO {table}")
    await _until(feed, lambda: not feed.error and feed.events(box.id))


async def test_a_feed_that_begins_with_a_state_file_it_cannot_read_shows_it_once_it_can(
    ws: Workspace, box: Box, feed: LiveFeed
) -> None:
    _sql(ws, "ALTER TABLE runs RENAME TO away")
    await feed.start()
    assert "no such table: runs" in feed.error
    _sql(ws, "ALTER TABLE away RENAME TO runs")
    await _until(feed, lambda: feed.views and not feed.error)


async def test_a_stream_that_ends_with_an_error_shows_as_cut_and_begins_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no ssh
    streams = Streams(lambda: 0.0)
    streams.follow([fakes.box("b")])
    cell = streams.cells["id-b"]
    for _ in range(2):
        cell.error = ""
        streams.again(["id-b"])
        for _ in range(20):
            await asyncio.sleep(0)
        assert cell.status == "refused"
        assert "ssh" in cell.error
    await streams.stop()

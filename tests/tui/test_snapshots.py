"""What whole screens look like, as SVG. To accept a change: SNAPSHOTS=write make test (or
this file alone), look at the pictures under tests/tui/snapshots, and commit them."""

from __future__ import annotations

import os
import re
import shlex
import socket
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from aiohttp import ClientSession, WSMsgType, web

from devbox.model import BoxState
from devbox.tui import picture
from devbox.tui.web import Door
from tests.tui import fakes, fleets
from tests.tui.conftest import Open
from tests.tui.driver import Driven
from tests.tui.terminal import Terminal

_MADE_BY = "https://www.textualize.io"
FOLDER = Path(__file__).parent / "snapshots"


async def _same(it: Driven, name: str) -> None:
    """The screen becomes what was accepted: on a busy machine the last of it comes a moment later,
    and what stays different is compared."""
    it.app.clear_notifications()
    await it.pilot.pause()
    accepted = FOLDER / f"{name}.svg"
    if os.environ.get("SNAPSHOTS") != "write":
        with suppress(AssertionError):
            await it.until(lambda: _picture(it) == accepted.read_text(), seconds=20)
    _is(_picture(it), accepted.name)


def _picture(it: Driven) -> str:
    svg = re.sub(r"terminal-\d+", "terminal", picture.svg(it.app))
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "").replace(_MADE_BY, "")
    return svg


def _is(text: str, name: str) -> None:
    """It is what was accepted under that name."""
    file = FOLDER / name
    if os.environ.get("SNAPSHOTS") == "write":
        FOLDER.mkdir(exist_ok=True)
        file.write_text(text)
    if text != file.read_text():
        got = Path(os.environ["HOME"]).parent / f"devbox-snapshot-{name}"
        got.write_text(text)
        raise AssertionError(f"{name} looks different: compare {file} with {got}")


def _hundred() -> fakes.FakeFeed:
    states = list(BoxState)
    views = [fakes.view(f"box-{n:03}", states[n % len(states)], today=n * 1000) for n in range(100)]
    feed = fakes.FakeFeed(views)
    for view in views:
        if view.box.state is BoxState.RUNNING:
            feed.fill(view, 8, 60)
    return feed


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_load(dashboard: Open, size: tuple[int, int]) -> None:
    async with dashboard(size=size) as it:
        await it.select("train")
        await it.turn()
        await _same(it, f"{size[0]}x{size[1]}")


async def test_without_gpus(dashboard: Open) -> None:
    """CPU and memory take the columns of the GPUs, and the processes are listed."""
    feed = fakes.FakeFeed(
        [fakes.view("dev"), fakes.view("web"), fakes.view("old", BoxState.PAUSED)]
    )
    for view in feed.views[:2]:
        feed.fill(view, 0)
    async with dashboard(feed=feed, size=(120, 40)) as it:
        await it.turn()
        assert "CPU" in it.text.splitlines()[1]
        assert "VRAM" not in it.text
        assert "dataloader" in it.page("load")
        await _same(it, "without-gpus")


async def test_a_large_screen_is_filled(dashboard: Open) -> None:
    """Load, jobs and logs as tiles. At most a quarter of the cells of a busy screen is blank; the
    one blank between two words is theirs, and a dot-less braille character is a blank."""
    async with dashboard(feed=fleets.busy(), size=(200, 60), log_lines=fleets.BUSY_LOG) as it:
        await it.select("train")
        await it.until(lambda: it.app.logs_pane.view.lines[-1:] == fleets.BUSY_LOG[-1:])
        await it.turn()
        text = it.text
        for part in ("1 Load", "2 Jobs", "4 Logs", "GPUs use", "tokens/s", "3600/5000"):
            assert part in text
        lines = [line.ljust(200).replace("\N{BRAILLE PATTERN BLANK}", " ") for line in
                 text.splitlines()]  # fmt: skip
        assert len(lines) == 60
        blank = sum(len(re.sub(r"(?<=\S) (?=\S)", "", line).split(" ")) - 1 for line in lines)
        assert blank <= 0.25 * 200 * 60, f"{blank / 12000:.1%} of the screen are blank"
        await _same(it, "200x60")


async def test_the_web_view(home: Path, tmp_path: Path) -> None:
    """What the page of `devbox ui --web` is sent, on a terminal of its size."""
    size = (120, 40)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        door = Door(port, "secret", readonly=False)
        door.command = shlex.join([sys.executable, "-m", "tests.tui.shown"])
        runner = web.AppRunner(await door.make(), shutdown_timeout=0.1)
        await runner.setup()
        await web.SockSite(runner, listener).start()
        page = f"http://127.0.0.1:{port}"
        link = f"{page}/ws/secret?width={size[0]}&height={size[1]}"
        sent = b""
        async with ClientSession() as client, client.ws_connect(link, origin=page) as page_end:
            await page_end.send_json(["resize", {"width": size[0], "height": size[1]}])
            with suppress(TimeoutError):  # nothing more comes: the fleet's clock stands still
                while True:
                    wait = 1.5 if b"last 5m" in sent else 60
                    message = await page_end.receive(timeout=wait)
                    assert message.type is WSMsgType.BINARY, (message, sent[-500:])
                    sent += message.data
        await runner.cleanup()
    (tmp_path / "sent").write_bytes(sent)
    terminal = Terminal(tmp_path, ["sh", "-c", "cat sent; exec sleep 600"], size)
    try:
        terminal.shows("worker-11", "last 5m")
        _is(terminal.screen, "web.txt")
    finally:
        terminal.close()


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
    feed = fleets.fleet()
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

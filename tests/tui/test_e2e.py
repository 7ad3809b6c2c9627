"""The dashboard end to end on a real local box: in a terminal of tmux, and in a browser."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from devbox import lifecycle, paths
from devbox.model import BoxState
from devbox.workspace import Workspace
from tests.processes import command_line
from tests.tui import browser
from tests.tui.terminal import Terminal
from tests.tui.waiting import until

pytestmark = pytest.mark.real_time

UI = [sys.executable, "-m", "devbox.cli.main", "ui"]
TOML = (
    '[boxes.demo]\n[providers.local]\nprice = 1.0\n[jobs.hi]\ncommand = ["echo", "job says hi"]\n'
)
ENTER, CTRL = "\ue007", "\ue009"


@pytest.fixture
def ws(home: Path) -> Iterator[Workspace]:
    folder = home / "project"
    folder.mkdir()
    (folder / "devbox.toml").write_text(TOML)
    made = Workspace.open(folder)
    yield made
    # what a failed test left under way ends before its box does
    for process in _processes("devbox.cli.main --events"):
        process.kill()
    for box in made.store.boxes.all():
        lifecycle.down(made, box, save=False)
    made.store.close()


@pytest.fixture
def terminal(ws: Workspace) -> Iterator[Terminal]:
    made = Terminal(ws.spec.root, UI)
    yield made
    made.close()


def test_from_up_to_down_in_a_terminal(terminal: Terminal, ws: Workspace) -> None:
    it = terminal
    it.shows("no boxes: u brings one up")
    _bring_up(it)
    it.shows("● running", "● live")
    (ws.spec.root / "a.txt").write_text("a")
    it.press("y")
    it.shows("Send, dry run")
    it.press("Enter")
    it.shows("✔ the synced files are in step")
    it.press("r")
    it.shows("Run what on demo?")
    it.press("Enter")
    it.shows("Run hi on demo")
    it.press("Tab", "Tab", "Tab")
    it.focuses("Run")
    it.press("Enter")
    it.shows("✔ succeeded")
    it.press("L")
    it.shows("job says hi")
    it.press("s")
    it.shows("its end leads back to the dashboard", "~#" if os.getuid() == 0 else "~$")
    it.type("cd work && ls && echo in $((40 + 2))\n")
    it.shows("a.txt", "in 42")
    it.press("C-d")
    it.shows("2 Jobs  3 Services")
    it.press("p")
    it.shows("Pause demo?", "demo: a pause keeps its files")
    it.focuses("Cancel")
    it.press("Right")
    it.focuses("Fetch, then pause")
    it.press("Enter")
    it.shows("○ paused")
    it.press("w")
    it.shows("Resume demo?", "demo: cpu at $1.00/h (config)")
    it.focuses("Cancel")
    it.press("Right", "Enter")
    it.shows("● running")
    it.press("C-d")
    it.shows("End demo?")
    it.focuses("Cancel")
    it.press("Enter")
    it.hides("End demo?")
    assert ws.box("demo").state is BoxState.RUNNING
    it.press("C-d")
    it.shows("End demo?", "demo: found no file that is not here")
    it.press("Right")
    it.focuses("Fetch, then end")
    it.press("Enter")
    it.shows("no boxes: u brings one up")
    it.press("q")
    it.shows("LEFT 0")
    assert ws.box("demo").state is BoxState.TERMINATED
    until(lambda: not _left())


def test_what_is_under_way_goes_on_after_quit(terminal: Terminal, ws: Workspace) -> None:
    it = terminal
    it.shows("no boxes: u brings one up")
    _bring_up(it)
    it.press("q")
    it.shows("LEFT 0")
    assert "still under way without the dashboard: up demo" in it.screen
    until(lambda: (box := ws.store.boxes.own("demo", ws.here)) and box.state is BoxState.RUNNING)
    until(lambda: not ws.store.boxes.open_intents())


def test_up_and_a_look_in_a_browser(served: str, ws: Workspace) -> None:
    with browser.opened() as page:
        page.open(served)
        _draws(page, "no boxes: u brings one up")
        assert "#" not in page.url
        page.press("u")
        _draws(page, "at most 8h (max_uptime): $8.00")
        page.press(ENTER, ENTER)
        _draws(page, "ssh devbox-demo")
        _draws(page, "● live")
        assert ws.box("demo").state is BoxState.RUNNING
        page.press(CTRL + "s")
        _draws(page, "saved ")
        assert not list(ws.spec.root.glob("*.svg"))
        (file,) = (paths.home() / "screenshots").iterdir()
        assert "live" in file.read_text()
        assert len(page.picture()) > 10_000
    # the tab is gone, and so is its dashboard with its streams
    until(lambda: not _left())


def test_the_browsers_door_is_closed_to_others(served: str) -> None:
    base, _, key = served.partition("#")
    own = {"Origin": base.rstrip("/")}
    port = int(base.rstrip("/").rpartition(":")[2])

    def code(url: str, **headers: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", url.removeprefix(base.rstrip("/")), headers=headers)
        answer = connection.getresponse()
        # A cookie of 127.0.0.1 would go to every port of it.
        assert answer.headers["Set-Cookie"] is None
        if answer.status != 101:
            assert key not in answer.read().decode(errors="replace")
        connection.close()
        return answer.status

    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    assert code(base) == 200
    assert code(base, Host="evil.example") == 403
    assert code(base, Origin="http://evil.example") == 403
    assert code(base, Origin="null") == 403
    socket = f"{base}ws/{key}"
    assert code(socket, **own, **upgrade) == 101
    assert code(socket, **upgrade) == 403, "a client without Origin is no browser"
    assert code(socket, **upgrade, Origin="http://127.0.0.1:1") == 403
    assert code(socket, **own, **upgrade, Host="localhost:1") == 403
    assert code(f"{base}ws/wrong", **own, **upgrade) == 403
    assert code(f"{base}ws", **own, **upgrade) == 403
    assert code(f"{base}download/x", **own) == 403


@pytest.fixture
def served(ws: Workspace) -> Iterator[str]:
    """The link that `devbox ui --web` prints."""
    server = subprocess.Popen(
        [*UI, "--web"], cwd=ws.spec.root, stdout=subprocess.PIPE, text=True, env={**os.environ}
    )
    assert server.stdout
    yield server.stdout.readline().strip()
    server.send_signal(signal.SIGINT)
    assert server.wait(60) in (0, 130)


def _bring_up(it: Terminal) -> None:
    """Through the dialog: the offer, then the button."""
    it.press("u")
    it.shows("at most 8h (max_uptime): $8.00")
    it.press("Enter")
    it.focuses("Bring it up")
    it.press("Enter")
    it.hides("Bring it up")


def _draws(page: browser.Browser, text: str) -> None:
    """Wait until the page's terminal is sent that, whatever its styles."""
    sent: list[str] = []

    def came() -> bool:
        sent.append(page.drawn)
        return text in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", "".join(sent))

    until(came, lambda: f"{text!r} was not drawn: {''.join(sent)[-3000:]!r}")


def _left() -> list[str]:
    """Dashboards, their operations and their streams of this test."""
    found = []
    for mark in ("devbox.cli.main ", " stream "):
        found += [command_line(process) for process in _processes(mark)]
    return [line for line in found if "--web" not in line and "echo LEFT" not in line]


def _processes(mark: str) -> list[psutil.Process]:
    """Of this test, those whose command line holds that."""
    found = []
    for process in psutil.process_iter():
        try:
            here = process.environ().get("DEVBOX_HOME") == os.environ["DEVBOX_HOME"]
            if here and mark in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found

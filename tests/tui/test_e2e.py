"""The dashboard end to end on a real local box: in a terminal of tmux, and in a browser."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from devbox import lifecycle
from devbox.model import BoxState
from devbox.workspace import Workspace
from tests.tui import browser

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
    for box in made.store.boxes.all():
        lifecycle.down(made, box, save=False)
    made.store.close()


def until(condition: Callable[[], object], seconds: float = 60.0, what: str = "") -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what or condition
        time.sleep(0.05)


class Terminal:
    """A tmux server of its own with one window."""

    def __init__(self, folder: Path, command: list[str]) -> None:
        self._socket = str(folder.parent / "tmux")
        line = f"unset COLUMNS LINES; {shlex.join(command)}; echo LEFT $?; exec cat"
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", "120", "-y", "36",
                   "-c", str(folder), line)  # fmt: skip

    def _tmux(self, *words: str) -> str:
        done = subprocess.run(
            ["tmux", "-S", self._socket, *words], check=True, capture_output=True, text=True
        )
        return done.stdout

    @property
    def screen(self) -> str:
        return self._tmux("capture-pane", "-p")

    def press(self, *keys: str) -> None:
        self._tmux("send-keys", *keys)

    def type(self, text: str) -> None:
        self._tmux("send-keys", "-l", text)

    def shows(self, text: str, seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while text not in (screen := self.screen):
            assert time.monotonic() < deadline, f"{text!r} is not in\n{screen}"
            time.sleep(0.05)

    def bring_up(self) -> None:
        """Through the dialog: the offer, then the button."""
        self.press("u")
        self.shows("at most 8h00m (max_uptime): $8.00")
        deadline = time.monotonic() + 30
        while "Bring it up" in self.screen:
            assert time.monotonic() < deadline
            self.press("Enter")
            time.sleep(0.3)

    def close(self) -> None:
        self._tmux("kill-server")


@pytest.fixture
def terminal(ws: Workspace) -> Iterator[Terminal]:
    made = Terminal(ws.spec.root, UI)
    yield made
    made.close()


def test_from_up_to_down_in_a_terminal(terminal: Terminal, ws: Workspace) -> None:
    it = terminal
    it.shows("no boxes: u brings one up")
    it.bring_up()
    it.shows("● running")
    it.shows("● live")
    (ws.spec.root / "a.txt").write_text("a")
    it.press("y")
    it.shows("Send, dry run")
    it.press("Enter")
    it.shows("✔ both sides are in step")
    it.press("r")
    it.shows("Run what on demo?")
    it.press("Down", "Enter")
    it.shows("Run hi on demo")
    it.press("Tab", "Tab", "Enter")
    it.shows("✔ succeeded")
    it.press("l")
    it.shows("job says hi")
    it.press("s")
    it.shows("its end leads back to the dashboard")
    it.type("cd work && ls\n")
    it.shows("a.txt")
    it.press("C-d")
    it.shows("1 GPU  2 Jobs")
    while "Pause demo?" not in it.screen:
        # what is typed while the terminal changes hands belongs to nobody
        it.press("z")
        time.sleep(0.5)
    it.shows("every file on it is also on this computer")
    it.press("Right", "Enter")
    it.shows("○ paused")
    it.press("w")
    it.shows("● running")
    it.press("C-d")
    it.shows("End demo?")
    it.press("Enter")  # Cancel is in focus
    it.shows("? Help")
    assert ws.box("demo").state is BoxState.RUNNING
    it.press("C-d")
    it.shows("every file on it is also on this computer")
    it.press("Right", "Enter")
    it.shows("no boxes: u brings one up")
    it.press("q")
    it.shows("LEFT 0")
    assert ws.box("demo").state is BoxState.TERMINATED
    assert _left(ws) == []


def test_what_is_under_way_goes_on_after_quit(terminal: Terminal, ws: Workspace) -> None:
    it = terminal
    it.shows("no boxes")
    it.bring_up()
    it.press("q")
    it.shows("LEFT 0")
    assert "still under way without the dashboard: up demo" in it.screen
    until(lambda: (box := ws.store.boxes.named("demo")) and box.state is BoxState.RUNNING)
    until(lambda: not ws.store.boxes.open_intents())


@pytest.fixture
def served(ws: Workspace) -> Iterator[str]:
    """The link that `devbox ui --web` prints."""
    server = subprocess.Popen(
        [*UI, "--web"], cwd=ws.spec.root, stdout=subprocess.PIPE, text=True, env={**os.environ}
    )
    assert server.stdout
    yield server.stdout.readline().strip()
    server.send_signal(signal.SIGINT)
    assert server.wait(30) in (0, 130)


def test_up_and_a_look_in_a_browser(served: str, ws: Workspace) -> None:
    with browser.opened() as page:
        page.open(served)
        until(lambda: "-first-byte" in page.run("return document.body.className"))
        assert "key=" not in page.url
        page.click(400, 400)
        blank = page.picture()
        deadline = time.monotonic() + 60
        while page.picture() == blank:
            assert time.monotonic() < deadline
            page.press("u")
            time.sleep(1)
        time_in = time.monotonic() + 60
        while ws.store.boxes.named("demo") is None:
            page.press(ENTER)
            assert time.monotonic() < time_in
            time.sleep(1)
        until(lambda: (box := ws.store.boxes.named("demo")) and box.state is BoxState.RUNNING)
        until(lambda: not ws.store.boxes.open_intents())

        def shot() -> str:
            page.press(CTRL + "s")
            files = sorted(ws.spec.root.glob("*.svg"))
            return files[-1].read_text() if files else ""

        until(lambda: "live" in shot() and "running" in shot())
        assert len(page.picture()) > 10_000
    # the tab is gone, and so is its dashboard with its streams
    until(lambda: _left(ws) == [])


def test_the_browsers_door_is_closed_to_others(served: str) -> None:
    base = served.split("?", maxsplit=1)[0]

    def code(url: str, **headers: str) -> int:
        request = urllib.request.Request(url, headers=headers)
        try:
            opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
            with opener.open(request, timeout=20) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    assert code(base) == 403
    assert code(base + "ws") == 403
    assert code(base + "static/js/textual.js") == 403
    assert code(base + "?key=wrong") == 403
    assert code(served) == 200
    assert code(served, Host="evil.example") == 403
    assert code(served, Origin="http://evil.example") == 403
    assert code(served, Origin="null") == 403


def _left(ws: Workspace) -> list[str]:
    """Dashboards, their operations and their streams of this test."""
    found = []
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
            here = process.environ().get("DEVBOX_HOME") == os.environ["DEVBOX_HOME"]
        except psutil.Error:
            continue
        if here and ("devbox.cli.main ui" in line or "devbox.tui" in line or " stream " in line):
            found.append(line)
    return [line for line in found if "--web" not in line and "echo LEFT" not in line]

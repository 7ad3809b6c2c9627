"""The dashboard: first paint, load, keys under load, a fast log, memory over hours."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import statistics
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import psutil

from devbox.model import BoxState
from devbox.state.store import Store
from tests.bench.rows import Row, median, ms
from tests.tui import fakes

_SECONDS = 15.0  # of load measured
_PRESSES = 60
_UI = [sys.executable, "-m", "devbox.cli.main", "ui"]
_LOAD = [sys.executable, "-m", "tests.bench.tui_load"]


def rows(folder: Path) -> list[Row]:
    return [_first_paint(folder), *_under_load(folder), _memory()]


class Screen:
    """A program on a terminal of 160×50, and the bytes it draws."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self.master, child = pty.openpty()
        fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 160, 0, 0))
        env = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
        env |= {"TERM": "xterm-256color", "PYTHONPATH": str(Path(__file__).parents[2])}
        self.process = subprocess.Popen(
            command, cwd=folder, stdin=child, stdout=child, stderr=child, env=env,
            start_new_session=True,
        )  # fmt: skip
        os.close(child)

    def wait(self, text: bytes, seconds: float = 30.0) -> float:
        """Seconds until it draws that."""
        began, seen = time.perf_counter(), b""
        while text not in seen:
            left = began + seconds - time.perf_counter()
            assert left > 0, f"{text!r} was not drawn: {seen[-500:]!r}"
            if select.select([self.master], [], [], left)[0]:
                seen = seen[-200:] + os.read(self.master, 1 << 16)
        return time.perf_counter() - began

    def drain(self, seconds: float) -> None:
        """Read what it draws for that long."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if select.select([self.master], [], [], left)[0]:
                os.read(self.master, 1 << 16)

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def load(self, seconds: float) -> float:
        """Per cent of a core used meanwhile."""
        watched = psutil.Process(self.process.pid)
        before = watched.cpu_times()
        began = time.monotonic()
        self.drain(seconds)
        after = watched.cpu_times()
        used = float(after.user + after.system - before.user - before.system)
        return 100 * used / (time.monotonic() - began)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)


def _first_paint(folder: Path) -> Row:
    project = folder / "project"
    project.mkdir()
    store = Store.open()
    for number in range(3):
        box = fakes.box(f"box-{number}", BoxState.PAUSED)
        store.boxes.finish(store.boxes.insert(box, "running", {}, 0.0), "done", 0.0)
    store.close()

    def paint() -> None:
        screen = Screen(_UI, project)
        try:
            screen.wait(b"box-2")
        finally:
            screen.close()

    took = median(paint, runs=7)
    peer = median(
        lambda: subprocess.run([sys.executable, "-c", "import textual.app"], check=True), runs=7
    )
    name = "ui: first paint with 3 boxes"
    return Row(name, ms(took), f"import textual {ms(peer)}", ms(took), "≤ 700 ms", took <= 0.7)


def _under_load(folder: Path) -> list[Row]:
    screen = Screen(_LOAD, folder)
    try:
        screen.wait(b"box-000")
        screen.drain(4)
        used = screen.load(_SECONDS)
        # the name of the selected box stands in the bar of the tabs, after its mark
        keys = []
        for number in range(1, _PRESSES + 1):
            screen.drain(0.13)
            screen.press("j")
            keys.append(screen.wait(b"devbox-box-%03d" % number))
        screen.press("Lv")  # the logs, and the next source of them: the box
        screen.wait(b"step ")
        screen.drain(2)
        log = screen.load(_SECONDS)
        follow = []
        for number in range(_PRESSES):
            screen.drain(0.13)
            screen.press(".")
            follow.append(screen.wait(b"held" if number % 2 == 0 else b"following"))
    finally:
        screen.close()
    return [
        Row("ui: 100 boxes × 8 GPUs at 1 Hz", f"{used:.1f} % of a core", "", f"{used:.1f} %",
            "≤ 15 %", used <= 15),
        _keys("ui: key to paint under that load", keys),
        Row("ui: a log of 5,000 lines/s besides", f"{log:.1f} % of a core", "", "", "", None),
        _keys("ui: key to paint under load and log", follow),
    ]  # fmt: skip


def _keys(name: str, took: list[float]) -> Row:
    p95 = statistics.quantiles(took, n=20)[-1]
    return Row(name, f"median {ms(statistics.median(took))}", "", f"p95 {ms(p95)}", "p95 ≤ 50 ms",
               p95 <= 0.05)  # fmt: skip


def _memory() -> Row:
    done = subprocess.run([*_LOAD, "memory"], capture_output=True, text=True, check=True)
    early, late = (int(line) / 1e6 for line in done.stdout.split())
    growth = late / early - 1
    detail = f"{early:.0f} MB after 2 h, {late:.0f} MB after 10 h"
    return Row("ui: memory over 10 simulated hours", detail, "", f"{growth:+.1%}", "flat (≤ 3 %)",
               growth <= 0.03)  # fmt: skip

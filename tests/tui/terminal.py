"""A real terminal: a tmux server of its own with one window, pressed and read like a user."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

from tests.tui.waiting import until

_STYLES = re.compile(r"\x1b\[([0-9;]*)m")


class Terminal:
    """command runs in the folder; "LEFT n" shows when it ended with code n."""

    def __init__(self, folder: Path, command: list[str], size: tuple[int, int] = (120, 36)) -> None:
        self._socket = str(folder.parent / "tmux")
        line = f"unset COLUMNS LINES; {shlex.join(command)}; echo LEFT $?; exec cat"
        width, height = map(str, size)
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", width, "-y", height,
                   "-c", str(folder), line)  # fmt: skip

    @property
    def screen(self) -> str:
        return self._tmux("capture-pane", "-p")

    def press(self, *keys: str) -> None:
        self._tmux("send-keys", *keys)

    def type(self, text: str) -> None:
        self._tmux("send-keys", "-l", text)

    def shows(self, *texts: str) -> None:
        """Wait until all of it is on the screen."""
        until(lambda: all(text in self.screen for text in texts), lambda: f"{texts}\n{self.screen}")

    def hides(self, text: str) -> None:
        """Wait until it is gone from the screen."""
        until(lambda: text not in self.screen, lambda: f"no {text!r}\n{self.screen}")

    def focuses(self, button: str) -> None:
        """Wait until that button is the one that enter presses: it is drawn in reverse."""
        until(lambda: button in self._reversed(), lambda: f"{button!r}\n{self.screen}")

    def close(self) -> None:
        self._tmux("kill-server")

    def _reversed(self) -> list[str]:
        """The pieces of the screen that are drawn in reverse."""
        found, on = [], False
        text, *rest = _STYLES.split(self._tmux("capture-pane", "-p", "-e"))
        for codes, text in zip(rest[::2], rest[1::2], strict=True):
            words = codes.split(";")
            on = "7" in words or (on and "0" not in words and "27" not in words and codes != "")
            if on:
                found.append(text.strip())
        return found

    def _tmux(self, *words: str) -> str:
        done = subprocess.run(
            ["tmux", "-S", self._socket, *words], check=True, capture_output=True, text=True
        )
        return done.stdout

"""A terminal: a program on a real pty, and the screen that its output makes, with all that scrolled
off. It knows what a well-behaved program may send; anything else is in `unknown`."""

from __future__ import annotations

import codecs
import fcntl
import os
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.cells import cell_len

_ESCAPE = re.compile(r"\x1b\[([0-9;]*)([A-Za-z])")


class Screen:
    """rows: from the first that was written. A wide character fills its second cell with ''."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.rows: list[list[str]] = [[]]
        self.row = self.column = 0
        self.unknown: list[str] = []

    def feed(self, text: str) -> None:
        at = 0
        while at < len(text):
            if found := _ESCAPE.match(text, at):
                self._escape(found[1], found[2])
                at = found.end()
                continue
            self._put(text[at])
            at += 1

    def resize(self, columns: int) -> None:
        """As terminals do that wrap their lines again: longer ones take several rows."""
        self.columns, old, row = columns, self.rows, self.row
        self.rows = []
        for index, cells in enumerate(old):
            if index == row:
                self.row, self.column = divmod(self.column, columns)
                self.row += len(self.rows)
            self.rows += [cells[n : n + columns] for n in range(0, len(cells), columns)] or [[]]

    @property
    def lines(self) -> list[str]:
        return ["".join(cells).rstrip() for cells in self.rows]

    def _put(self, char: str) -> None:
        if char == "\n":
            self.row += 1
            if self.row == len(self.rows):
                self.rows.append([])
        elif char == "\r":
            self.column = 0
        elif char < " " or char == "\x7f":
            self.unknown.append(char)
        else:
            width = cell_len(char)
            if self.column + width > self.columns:
                self._put("\r")
                self._put("\n")
            cells = self.rows[self.row]
            cells += [" "] * (self.column + width - len(cells))
            if width:
                cells[self.column : self.column + width] = [char] + [""] * (width - 1)
            self.column += width

    def _escape(self, number: str, letter: str) -> None:
        if letter == "A":
            self.row = max(0, self.row - int(number or 1))
        elif (letter, number) == ("J", ""):
            del self.rows[self.row + 1 :]
            del self.rows[self.row][self.column :]
        elif (letter, number) == ("K", ""):
            del self.rows[self.row][self.column :]
        elif letter != "m":
            self.unknown.append(f"{number}{letter}")


class Terminal:
    """A program on a pty of its own, which is its controlling terminal."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        columns: int = 80,
        rows: int = 24,
        folder: Path | None = None,
        term: str = "xterm-256color",
    ) -> None:
        self.screen = Screen(columns)
        self._text = codecs.getincrementaldecoder("utf-8")("replace")
        self._ours, theirs = os.openpty()
        self._rows = rows
        self._set_size(columns)
        # What a session's first process opens first becomes its controlling terminal.
        begin = ["/bin/sh", "-c", 'exec <>"$0" >&0 2>&0; exec "$@"', os.ttyname(theirs)]
        self.process = subprocess.Popen(
            [*begin, *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env={**os.environ, "TERM": term, "PYTHONUTF8": "1"},
            start_new_session=True,
        )
        self._theirs = theirs

    def until(self, holds: Callable[[Screen], bool], seconds: float = 120.0) -> None:
        """Read until the screen is so."""
        end = time.monotonic() + seconds
        while not holds(self.screen):
            assert time.monotonic() < end, "\n".join(self.screen.lines)
            over = self.process.poll() is not None
            assert self._read(0.1) or not over, "it ended: " + "\n".join(self.screen.lines)

    def end(self, seconds: float = 120.0) -> int:
        """Read until the program has ended; its exit code."""
        end = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < end, "\n".join(self.screen.lines)
            self._read(0.1)
        while self._read(0):
            continue
        return self.process.returncode

    def type(self, data: bytes) -> None:
        os.write(self._ours, data)

    def resize(self, columns: int) -> None:
        """Take what was drawn so far, then change the width."""
        while self._read(0):
            continue
        self.screen.resize(columns)
        self._set_size(columns)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)
        os.close(self._theirs)

    def _set_size(self, columns: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("4H", self._rows, columns, 0, 0))

    def _read(self, patience: float) -> bool:
        """Take what is there; whether there was any."""
        if not select.select([self._ours], [], [], patience)[0]:
            return False
        self.screen.feed(self._text.decode(os.read(self._ours, 65536)))
        return True

"""How a verb that changes a box shows its way on a terminal: its stages counted and timed, what it
waits for and what that costs, and the image's build folded to the step that runs.

What tells of trouble in a build stays on the terminal; the whole log is kept in a file. Without a
terminal, and for `--events`, all of it is narrated as lines.
"""

from __future__ import annotations

import re
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from devbox.cli import common
from devbox.cli.screen import Screen, can_redraw
from devbox.errors import BuildFailed
from devbox.text import counted, duration
from devbox.text_layout import Line, plain

if TYPE_CHECKING:
    from devbox.workspace import Waited, Workspace

_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_SHOWN = 15  # last lines of a log after a failure
_WIDEST = 2000  # characters of a line
_MOST_TROUBLE = 20  # lines of one log that stay on the terminal


@contextmanager
def shown(ws: Workspace, *, verbose: bool = False, after: Sequence[str] = ()) -> Iterator[None]:
    """In the block, show what `ws` does, unless it is quiet. verbose: all lines of a build stay.
    after: stages of the front end's own that follow those of the verb."""
    if ws.narrate is common.silent or common.events or not can_redraw(sys.stderr):
        yield
        return
    way = _Way(after, verbose=verbose)
    before = ws.on_plan, ws.on_stage, ws.on_build, ws.on_wait
    common.screen = way.screen
    ws.on_plan, ws.on_stage, ws.on_build = way.plan, way.stage, way.build
    ws.on_wait = way.wait
    try:
        yield
        way.end("good")
    except BaseException as error:
        way.end("bad", error)
        raise
    finally:
        ws.on_plan, ws.on_stage, ws.on_build, ws.on_wait = before
        common.screen = None
        way.screen.close()


class Stages:
    """Which stages there are, which one it is and since when. Pure: clock is any that counts
    seconds."""

    def __init__(self, after: Sequence[str], clock: Callable[[], float]) -> None:
        self._after, self._clock = tuple(after), clock
        self._all = self._after
        self.now = ""
        self._began = clock()

    def plan(self, stages: Sequence[str]) -> None:
        self._all = (*stages, *self._after)
        if self.now not in self._all:
            self.now = ""

    def begin(self, stage: str) -> bool:
        """Whether that is a stage to show, and not the one it is already. One that is not planned
        is a part of the one before."""
        if stage == self.now or stage not in self._all:
            return False
        self.now, self._began = stage, self._clock()
        return True

    @property
    def title(self) -> str:
        """'3/7 connect'; '' before the first."""
        if not self.now:
            return ""
        return f"{self._all.index(self.now) + 1}/{len(self._all)} {self.now}"

    @property
    def lasted(self) -> str:
        """'1m15s'; '' under a second."""
        seconds = self._clock() - self._began
        return duration(seconds) if seconds >= 1 else ""


class _Way:
    def __init__(
        self, after: Sequence[str], *, verbose: bool, stream: TextIO | None = None
    ) -> None:
        self._stages = Stages(after, time.monotonic)
        self._verbose = verbose
        self._log: BuildShown | None = None
        self._wait: Waited | None = None
        self._turn = threading.RLock()
        self._over = False
        self.screen = Screen(stream or sys.stderr, self._live)

    def plan(self, stages: Sequence[str]) -> None:
        self._stages.plan(stages)

    def wait(self, wait: Waited) -> None:
        self._wait = wait

    def stage(self, stage: str) -> None:
        with self._turn:
            before = self._finished("good")
            if self._stages.begin(stage):
                self._leave(before)

    def build(self, name: str, line: str, steps: int | None) -> None:
        with self._turn:
            if self._verbose or self._over:
                common.narrate(f"{name} | {line}")
                return
            log = self._log = self._log or BuildShown(name)
            for part in filter(str.strip, re.split(r"[\r\n]+", line)):
                if log.line(plain(part, _WIDEST), steps):
                    common.narrate(f"{name} | {plain(part, _WIDEST)}")

    def end(self, style: str, error: BaseException | None = None) -> None:
        """The verb is over, or was cut off by an error."""
        with self._turn:
            self._over = True
            self._leave(self._finished(style), error)

    def _leave(self, stage: Line, error: BaseException | None = None) -> None:
        """Have a stage and its build among what stays."""
        if stage:
            self.screen.say(stage)
        if self._log:
            self._log.told(self.screen, error)
        self._log = None

    def _finished(self, style: str) -> Line:
        if not self._stages.title:
            return []
        mark = "✓" if style == "good" else "✗"
        return [(mark, style), (f" {self._stages.title}  {self._stages.lasted}".rstrip(), "")]

    def _live(self) -> list[Line]:
        """What is drawn again and again: the stage, then the step of a build and its last line."""
        wait = self._wait if self._wait and not self._wait.is_over else None
        if not self._stages.title and not wait:
            return []
        doing, lasted, cost = wait.parts() if wait else ("", "", "")
        title = " ".join(filter(None, (self._stages.title, lasted or self._stages.lasted)))
        spin = _SPINNER[int(time.monotonic() * 10) % len(_SPINNER)]
        said = "  ".join(filter(None, (title, cost, plain(doing))))
        lines: list[Line] = [[(spin, ""), (f" {said}", "")]]
        return lines + (self._log.live() if self._log else [])


class BuildShown:
    """One build's log: its step and last line, what of it stays on the terminal, and its file."""

    def __init__(self, name: str) -> None:
        from devbox.images import build_progress, buildlog

        self._progress = build_progress.BuildProgress()
        self._is_trouble = build_progress.is_trouble
        self._began = time.monotonic()
        self._tail: deque[str] = deque(maxlen=_SHOWN)
        self._count = self._trouble = 0
        self._file: Path | None = None
        with suppress(OSError):  # why: a disk that is full must not end what is under way
            self._file = buildlog.new_file(name)
            self._open = self._file.open("w", encoding="utf-8", errors="replace", buffering=1)

    def line(self, line: str, steps: int | None) -> bool:
        """Take one; whether it is to stay on the terminal."""
        self._count += 1
        self._tail.append(line)
        if self._file:
            try:
                self._open.write(line + "\n")
            except OSError:
                self._file = None
        if self._progress.line(line, steps):
            self._began = time.monotonic()
            return False
        trouble = self._is_trouble(line)
        self._trouble += trouble
        return self._file is None or (trouble and self._trouble <= _MOST_TROUBLE)

    def live(self) -> list[Line]:
        step = self._progress.shown()
        lasted = time.monotonic() - self._began
        said = f"  {step}" + (f"  {duration(lasted)}" if lasted >= 1 else "")
        lines: list[Line] = [[(said, "")]] if step else []
        return lines + ([[(f"    {self._progress.last}", "dim")]] if self._progress.last else [])

    def told(self, screen: Screen, error: BaseException | None = None) -> None:
        """Say what stays of it: after an error its last lines, and where the whole log is."""
        told = isinstance(error, BuildFailed) and error.quotes_log
        if isinstance(error, Exception) and not told:
            screen.say([("  the build log ends with:", "")])
            for line in self._tail:
                screen.say([(f"    {line}", "")])
        more = self._trouble - _MOST_TROUBLE
        hidden = f", {counted(more, 'more line')} with errors" if more > 0 else ""
        if self._file:
            self._open.close()
            said = f"  build log: {counted(self._count, 'line')}{hidden}: {self._file}"
            screen.say([(said, "dim")])

"""The Logs tab: the run's, the box's or the build's log, followed and searched."""

from __future__ import annotations

import threading
from collections import deque

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widget import Widget
from textual.widgets import Input

from devbox.errors import DevboxError
from devbox.model import Box, BoxState, Run
from devbox.text_layout import Line, plain
from devbox.tui.feed import RunView
from devbox.tui.logview import KEPT, LogView
from devbox.tui.panes.base import Seen
from devbox.tui.queries import Asks, LogKind
from devbox.tui.static_lines import Lines

_DRAIN = 0.2  # seconds between looks at what came
KINDS: tuple[LogKind, ...] = ("run", "box", "build")


class Source:
    """One log read on a thread of its own into a bounded queue."""

    def __init__(self, asks: Asks, kind: LogKind, box: Box, run: Run | None) -> None:
        self.lines: deque[str] = deque(maxlen=2 * KEPT)
        self.stopped = self.ended = False
        self._asks, self._kind, self._box, self._run = asks, kind, box, run
        threading.Thread(target=self._read, name="devbox-log", daemon=True).start()

    def taken(self) -> list[str]:
        """What came since the last time."""
        count = len(self.lines)
        return [self.lines.popleft() for _ in range(count)]

    def _read(self) -> None:
        try:
            for line in self._asks.logs(self._kind, self._box, self._run):
                if self.stopped:
                    return
                self.lines.append(line)
        except DevboxError as error:
            self.lines.append(f"— {error.what}")
            if error.fix:
                self.lines.append(f"— {error.fix}")
        self.ended = True


class LogsPane(Vertical):
    DEFAULT_CSS = """
    LogsPane #log-head { height: 1; }
    LogsPane LogView { height: 1fr; }
    LogsPane Input { height: 1; border: none; padding: 0 1; display: none; }
    LogsPane Input.-open { display: block; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.kind: LogKind = "run"
        self.run: Run | None = None
        self._source: Source | None = None
        self._of: tuple[str, LogKind, str] | None = None
        self._seen: Seen | None = None
        self._searched = ""
        self._title = Lines(id="log-head")
        self.view = LogView(id="log")
        self._search = Input(placeholder="search the log", id="search")

    def compose(self) -> ComposeResult:
        yield self._title
        yield self.view
        yield self._search

    def on_mount(self) -> None:
        self.set_interval(_DRAIN, self.drain)

    def refresh_from(self, seen: Seen) -> None:
        view, before = seen.view, self._seen.view if self._seen else None
        if view and (before is None or before.box.id != view.box.id):
            building = view.box.state is BoxState.BUILDING
            self.kind = "build" if building else "run" if self.kind == "build" else self.kind
            if self.run and self.run.box_id != view.box.id:
                self.run = None
        self._seen = seen
        self._connect(seen)
        self._head()

    def opened(self, seen: Seen) -> None:
        self.refresh_from(seen)

    def closed(self) -> None:
        self._stop()

    @property
    def run_view(self) -> RunView | None:
        return None

    def target(self) -> Widget:
        return self.view

    def next_kind(self) -> None:
        self.kind = KINDS[(KINDS.index(self.kind) + 1) % len(KINDS)]
        if self._seen:
            self.refresh_from(self._seen)

    def show_run(self, run: Run) -> None:
        """The log of that run, whatever else the box has."""
        self.kind, self.run = "run", run

    def drain(self) -> None:
        """Draw what came. Five times a second however fast it comes."""
        if self._source and self._source.lines:
            self.view.add(self._source.taken())
            self._head()

    def start_search(self) -> None:
        self._search.add_class("-open")
        self._search.focus()

    def end_search(self) -> bool:
        """Close the search; whether it was open."""
        box = self._search
        was = box.has_class("-open") or bool(self.view.words)
        box.remove_class("-open")
        box.value = ""
        self._searched = ""
        self.view.search("")
        self.view.focus()
        return was

    def step(self, direction: int) -> None:
        place, count = self.view.step(direction)
        self._searched = f"{place} of {count}" if count else "no match"
        self._head()

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        count = self.view.search(event.value)
        self._searched = f"{count} matches" if event.value else ""
        self._head()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self._search.remove_class("-open")
        self.view.focus()

    def _connect(self, seen: Seen) -> None:
        if seen.view is None:
            self._stop()
            return
        box, run = seen.view.box, self.run
        if run is None and self.kind == "run":
            here = (view.run for view in seen.feed.runs(box.id) if not view.is_batch)
            run = next((run for run in here if run.box_id == box.id), None)
        wanted = (box.id, self.kind, run.id if run and self.kind == "run" else "")
        if wanted == self._of:
            return
        self._stop()
        self._of = wanted
        self.view.clear()
        self.view.follow = True
        self._source = Source(seen.asks, self.kind, box, run)

    def _stop(self) -> None:
        self._of = None
        if self._source:
            self._source.stopped = True
            self._source = None

    def _head(self) -> None:
        line: Line = [(" ", "")]
        for kind in KINDS:
            line.append((f" {kind} ", "accent bold reverse" if kind == self.kind else "dim"))
        what = self._of[2] if self._of else ""
        state = "following" if self.view.follow else "held"
        state += ", ended" if self._source and self._source.ended else ""
        count = len(self.view.lines)
        line += [
            (f"  {plain(what)}", "bold"),
            (f"  {count} line{'' if count == 1 else 's'}, {state}", "dim"),
        ]
        if self.view.dropped:
            line.append((f", {self.view.dropped} older dropped", "warn"))
        if self._searched:
            line.append((f"   {self._searched}", "info"))
        self._title.show([line])

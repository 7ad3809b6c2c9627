"""The Jobs tab: the box's runs with progress, time left and cost, and the chosen one described."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widget import Widget

from devbox.jobs import queries, queue, status
from devbox.model import Run
from devbox.text import dollars, duration, size
from devbox.text_layout import Line, bar, cells, percent, plain
from devbox.tui import symbols
from devbox.tui.feed import RunView
from devbox.tui.grid import Column, Grid
from devbox.tui.panes.base import Seen
from devbox.tui.static_lines import Lines
from devbox.wire.jobs import JobStatus

_COLUMNS = (
    Column("edge", "", 0),
    Column("state", "STATE", 11, most=12),
    Column("run", "RUN", 22, most=38),
    Column("progress", "PROGRESS", 14, most=60),
    Column("eta", "LEFT", 7, right=True, drop=1),
    Column("time", "TIME", 7, right=True, drop=2),
    Column("cost", "COST", 9, right=True),
)


class JobsPane(Vertical):
    DEFAULT_CSS = """
    JobsPane Grid { height: auto; min-height: 2; max-height: 60%; }
    JobsPane Lines { height: 1fr; margin: 1 0 0 0; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._runs: dict[str, RunView] = {}
        self._status: dict[str, tuple[bytes, JobStatus]] = {}
        self._now = 0.0
        self.grid = Grid(_COLUMNS, self._field, empty="no run yet: r runs a job", id="runs")
        self._about = Lines(id="run")

    def compose(self) -> ComposeResult:
        yield self.grid
        yield self._about

    @property
    def run_view(self) -> RunView | None:
        """The run under the cursor."""
        return self._runs.get(self.grid.key or "")

    @property
    def run(self) -> Run | None:
        return self.run_view.run if self.run_view else None

    def refresh_from(self, seen: Seen) -> None:
        self._now = seen.now
        runs = seen.feed.runs(seen.view.box.id) if seen.view else ()
        self._runs = {view.run.id: view for view in runs if not queries.is_service(view.run)}
        longest = max((cells(_name(view.run)) for view in runs), default=0)
        self.grid.set_columns(
            [
                c._replace(most=min(c.most, longest), eager=True) if c.key == "run" else c
                for c in _COLUMNS
            ]
        )
        self.grid.show(list(self._runs))
        self._tell()

    def opened(self, seen: Seen) -> None:
        self.refresh_from(seen)

    def closed(self) -> None:
        """Nothing runs for it."""

    def target(self) -> Widget:
        return self.grid

    def on_grid_moved(self, event: Grid.Moved) -> None:
        event.stop()
        self._tell()

    def _tell(self) -> None:
        run = self.run
        self._about.display = run is not None
        self._about.show(about(run, self._of(run)) if run else [])

    def _of(self, run: Run) -> JobStatus:
        known = self._status.get(run.id)
        if known is None or known[0] != run.status:
            known = self._status[run.id] = (run.status, status.of(run))
            while len(self._status) > 200:
                del self._status[next(iter(self._status))]
        return known[1]

    def _field(self, key: str, column: Column, width: int) -> Line:
        if column.key == "edge":
            return []
        return self._filled(key, column, width)

    def _filled(self, key: str, column: Column, width: int) -> Line:
        view = self._runs[key]
        run = view.run
        found = self._of(run)
        match column.key:
            case "state":
                shape, style = symbols.RUN[run.state]
                return [(f"{shape} {run.state}", style)]
            case "run":
                return [(_name(run), "bold" if not run.batch else "")]
            case "progress":
                return progress(run, found, width)
            case "eta":
                left = found.eta if not run.state.is_over else None
                return [(duration(left), "" if left is not None else "dim")]
            case "time":
                return [(duration(status.seconds(found, self._now)), "")]
        return [(dollars(view.cost), "")]


def _name(run: Run) -> str:
    """Its id; a part of a batch is under it, by its number and its box."""
    if not run.batch:
        return plain(run.id)
    return plain(f"  {run.id.rpartition('-')[2]} {run.box_name}")


def progress(run: Run, found: JobStatus, width: int) -> Line:
    done, total = found.progress
    if found.queue:
        return [(plain(queue.told(found), width), "dim")]
    if not total:
        text = f"{done:g} {plain(found.unit, 20)}" if done else plain(found.stage, 40)
        return [(text or "–", "" if text else "dim")]
    share = 100 * done / total
    words = f" {done:g}/{total:g}"
    if width < 20:
        return [(percent(share), ""), (words, "dim")]
    style = "good" if run.state.is_over else "info"
    return [*bar(share, max(4, width - 16), style=style), (f" {percent(share)}{words}", "")]


def about(run: Run, found: JobStatus) -> list[Line]:
    """What there is to say of a run beyond its row."""
    lines: list[Line] = []
    if said := found.message or queue.told(found) or found.note:
        lines.append([(f" {plain(said, 400)}", "bold")])
    counts = found.counts
    facts = []
    if counts.total:
        facts.append(f"{counts.done} of {counts.total} items done")
        facts += [f"{counts.failed} failed"] if counts.failed else []
        facts += [f"{counts.skipped} skipped"] if counts.skipped else []
    facts += [f"attempt {found.attempt}"] if found.attempt > 1 else []
    facts += [f"exit code {run.exit_code}"] if run.exit_code is not None else []
    facts += [f"on {plain(', '.join(found.gpus), 200)}"] if found.gpus else []
    facts += [f"memory {size(found.peak.rss)}"] if found.peak.rss else []
    facts += [f"VRAM {size(found.peak.vram)}"] if found.peak.vram else []
    if facts:
        lines.append([(" " + "  ·  ".join(facts), "dim")])
    for failure in found.failures[:4]:
        lines.append([(f" ✖ {plain(failure.item, 80)}: {plain(failure.error, 200)}", "bad")])
    return lines

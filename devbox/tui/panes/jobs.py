"""The Jobs tab: the box's runs with progress, time left and cost, and the chosen one described."""

from __future__ import annotations

from devbox.jobs import queue, status
from devbox.model import Run
from devbox.text import dollars, duration, size
from devbox.text_layout import Line, bar, cells, percent, plain
from devbox.tui import symbols
from devbox.tui.feed import RunView
from devbox.tui.grid import Column
from devbox.tui.panes.base import Seen
from devbox.tui.panes.runs import RunsPane
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


class JobsPane(RunsPane):
    services = False

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(_COLUMNS, empty="no run yet: r runs a job", id=id)
        self._status: dict[str, tuple[bytes, JobStatus]] = {}

    @property
    def run(self) -> Run | None:
        return self.run_view.run if self.run_view else None

    def prepare(self, seen: Seen) -> None:
        """Make the names' column as wide as they are."""
        longest = max((cells(_name(view.run)) for view in self._runs.values()), default=0)
        self.grid.set_columns(
            [
                c._replace(most=min(c.most, longest), eager=True) if c.key == "run" else c
                for c in _COLUMNS
            ]
        )

    def about(self, view: RunView) -> list[Line]:
        return about(view.run, self._of(view.run))

    def _of(self, run: Run) -> JobStatus:
        known = self._status.get(run.id)
        if known is None or known[0] != run.status:
            known = self._status[run.id] = (run.status, status.of(run))
            while len(self._status) > 200:
                del self._status[next(iter(self._status))]
        return known[1]

    def field(self, view: RunView, column: Column, width: int) -> Line:
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

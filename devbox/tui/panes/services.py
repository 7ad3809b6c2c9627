"""The Services tab: the box's services with their health and where they answer."""

from __future__ import annotations

from devbox.jobs import queue, status
from devbox.model import Run
from devbox.text import dollars, duration
from devbox.text_layout import Line, plain
from devbox.tui.feed import RunView
from devbox.tui.grid import Column
from devbox.tui.panes.base import Seen
from devbox.tui.panes.runs import RunsPane
from devbox.wire.jobs import ServiceStatus

_COLUMNS = (
    Column("edge", "", 0),
    Column("name", "SERVICE", 12, most=24),
    Column("health", "HEALTH", 14, most=16),
    Column("port", "PORT", 6, right=True),
    Column("url", "URL HERE", 23, most=30, drop=1),
    Column("time", "UPTIME", 7, right=True, drop=2),
    Column("cost", "COST", 9, right=True, drop=3),
)
_STYLES = {"ready": "good", "warming up": "busy", "not answering": "warn", "failed": "bad"}


class ServicesPane(RunsPane):
    services = True

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(_COLUMNS, empty="no service yet: r starts one", id=id)
        self._urls: dict[str, str] = {}

    def prepare(self, seen: Seen) -> None:
        """Look where they answer here."""
        self._urls = {
            run_id: seen.asks.url_of(view.run)
            for run_id, view in self._runs.items()
            if not view.run.state.is_over
        }

    def about(self, view: RunView) -> list[Line]:
        return about(view.run, self._urls.get(view.run.id, ""))

    def field(self, view: RunView, column: Column, width: int) -> Line:
        found, url = status.of(view.run), self._urls.get(view.run.id, "")
        word = health(view.run, found.service)
        fields: dict[str, tuple[str, str]] = {
            "name": (plain(view.run.job), "bold"),
            "health": (word, _STYLES.get(word, "dim")),
            "port": (str(port_of(view.run) or "–"), ""),
            "url": (url or "–", "info" if url else "dim"),
            "time": (duration(status.seconds(found, self._now)), ""),
            "cost": (dollars(view.cost), ""),
        }
        return [fields[column.key]]


def health(run: Run, found: ServiceStatus | None) -> str:
    """In a word or two: 'ready', 'warming up', 'not answering', or how it ended."""
    if run.state.is_over or found is None or run.state != "running":
        return str(run.state)
    return "ready" if found.ready else "not answering" if found.since else "warming up"


def port_of(run: Run) -> int | None:
    """Where it listens on its box; None before that is known."""
    found = status.of(run).service
    return found.port if found else None


def about(run: Run, url: str) -> list[Line]:
    """What there is to say of a service beyond its row."""
    seen = status.of(run)
    lines: list[Line] = []
    if (
        said := seen.message
        or queue.told(seen)
        or (seen.service.said if seen.service else "")
        or seen.note
    ):
        lines.append([(f" {plain(said, 400)}", "bold")])
    if run.state.is_over:
        lines.append([(" it has ended; r starts it again, L shows its log", "dim")])
    elif url:
        lines.append([(f" answers here on {plain(url, 200)}", "good"), ("   c stops it", "dim")])
    else:
        lines.append([(" f makes it answer on this computer, c stops it", "dim")])
    return lines

"""The Services tab: the box's services with their health and where they answer."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widget import Widget

from devbox.jobs import queries, queue, status
from devbox.model import Run
from devbox.text import dollars, duration
from devbox.text_layout import Line, plain
from devbox.tui.feed import RunView
from devbox.tui.grid import Column, Grid
from devbox.tui.panes.base import Seen
from devbox.tui.static_lines import Lines
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


class ServicesPane(Vertical):
    DEFAULT_CSS = """
    ServicesPane Grid { height: auto; min-height: 2; max-height: 60%; }
    ServicesPane Lines { height: 1fr; margin: 1 0 0 0; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._runs: dict[str, RunView] = {}
        self._urls: dict[str, str] = {}
        self._now = 0.0
        self.grid = Grid(
            _COLUMNS, self._field, empty="no service yet: r starts one", id="service-list"
        )
        self._about = Lines(id="service")

    def compose(self) -> ComposeResult:
        yield self.grid
        yield self._about

    @property
    def run_view(self) -> RunView | None:
        """The service under the cursor."""
        return self._runs.get(self.grid.key or "")

    def refresh_from(self, seen: Seen) -> None:
        self._now = seen.now
        runs = seen.feed.runs(seen.view.box.id) if seen.view else ()
        self._runs = {view.run.id: view for view in runs if queries.is_service(view.run)}
        self._urls = {
            run_id: seen.asks.url_of(view.run)
            for run_id, view in self._runs.items()
            if not view.run.state.is_over
        }
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
        view = self.run_view
        self._about.display = view is not None
        self._about.show(about(view.run, self._urls.get(view.run.id, "")) if view else [])

    def _field(self, key: str, column: Column, width: int) -> Line:
        view = self._runs.get(key)
        if view is None or column.key == "edge":
            return []
        found, url = status.of(view.run), self._urls.get(key, "")
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

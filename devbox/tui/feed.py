"""What the dashboard shows, as values it reads on every redraw. `live.LiveFeed` is the real one;
tests and load benchmarks bring their own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from devbox.errors import DevboxError
from devbox.model import Box, Event, Run
from devbox.telemetry.live import LiveTelemetry
from devbox.text import clean
from devbox.tui.history import History

if TYPE_CHECKING:
    from devbox.wire.messages import Verdict


class BoxView(NamedTuple):
    """A box as the fleet shows it. costing: it is billed now, at `micro` micro-dollars an hour
    (None: unknown price). today: micro-dollars since midnight (None: part is unknown); spends:
    whether there is anything to tell of today. goal, step: what some devbox is doing with it. may:
    what it may start to cost by itself, '' for nothing. guards: what ends or pauses it when nobody
    does; ceiling: that keeps its max_uptime."""

    box: Box
    costing: bool = False
    micro: int | None = None
    today: int | None = 0
    spends: bool = False
    goal: str = ""
    step: str = ""
    may: str = ""
    guards: Sequence[str] = ()
    ceiling: bool = True


class RunView(NamedTuple):
    """A run with what it cost so far, micro-dollars (None: unknown). is_batch: it stands for the
    parts that follow it, and is on no box itself."""

    run: Run
    cost: int | None
    is_batch: bool = False


class Totals(NamedTuple):
    """Micro-dollars; None when part of it is unknown. rate: an hour, of what is billed now at a
    known price; unpriced: how many boxes are billed at an unknown one."""

    rate: int = 0
    unpriced: int = 0
    today: int | None = 0
    month: int | None = 0


def said(error: Exception) -> str:
    """An error of a source of what is shown, in one line."""
    if isinstance(error, DevboxError):
        return error.what
    return f"{type(error).__name__}: {clean(str(error), 200)}"


class Feed(Protocol):
    """recent: the newest runs of all boxes. changes counts up whenever views, totals, runs, events
    or verdicts became others; a cell has its own count. error: why what is shown may be old, ''
    when all is well."""

    clock: Callable[[], float]
    views: Sequence[BoxView]
    totals: Totals
    recent: Sequence[Run]
    changes: int

    @property
    def error(self) -> str: ...

    def cell(self, box_id: str) -> LiveTelemetry | None: ...
    def history(self, box_id: str) -> History | None: ...
    def verdict(self, box_id: str) -> Verdict | None: ...
    def runs(self, box_id: str) -> Sequence[RunView]: ...
    def events(self, box_id: str) -> Sequence[Event]: ...

    async def start(self) -> None:
        """Begin to watch; returns once there is something to show, an error included."""

    async def stop(self) -> None:
        """End every stream and its process, at once."""

    def tick(self) -> None:
        """Take in what came since the last one. Cheap; called twice a second."""

    def look(self, selected: str | None, visible: Collection[str], pane: str) -> None:
        """What the user sees now (box ids, the open pane), so that it is asked for first."""

    def hurry(self, box_ids: Collection[str]) -> None:
        """Ask the providers about these boxes now, and connect those that are cut."""

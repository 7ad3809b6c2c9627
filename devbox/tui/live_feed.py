"""The real feed: the state file, one telemetry stream a running box, and slow questions on the
side. Everything here happens on the event loop but what `background.call` runs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from devbox.errors import DevboxError
from devbox.model import Box, BoxState, Event, Interval, Run
from devbox.money import exposure
from devbox.state.boxes import Intent
from devbox.state.costs import run_cost
from devbox.telemetry.live import LiveTelemetry
from devbox.tui import background
from devbox.tui.feed import BoxView, RunView, Totals, said
from devbox.tui.history import History
from devbox.tui.ledger_view import Spent, spent
from devbox.tui.schedule import Schedule
from devbox.tui.streams import Streams
from devbox.workspace import Workspace

if TYPE_CHECKING:
    from devbox.lifecycle import Guards
    from devbox.wire.messages import Verdict

T = TypeVar("T")

_COSTS_EVERY, _NEWS_EVERY, _BUDGETS_EVERY = 5.0, 20.0, 60.0
_RECENT = 100
_TURN = 0.25  # seconds between looks at what is due


class LiveFeed:
    """See `feed.Feed`. start: the folder whose devbox.toml counts."""

    def __init__(self, start: Path) -> None:
        # Two workspaces, so that a slow write of a question never holds up a redraw's read.
        self._ws = Workspace.open(start)
        self._side = Workspace(self._ws.spec, clock=self._ws.clock)
        self.clock: Callable[[], float] = self._ws.clock
        self.views: Sequence[BoxView] = ()
        self.totals = Totals()
        self.recent: Sequence[Run] = ()
        self.changes = 0
        self._problems: dict[str, str] = {}
        self._boxes: list[Box] = []
        self._version: int | None = None
        self._spent: Spent | None = None
        self._verdicts: dict[str, Verdict] = {}
        self._guards: dict[str, Guards] = {}
        self._runs: dict[str, list[RunView]] = {}
        self._events: dict[str, list[Event]] = {}
        self._streams = Streams(self.clock)
        self._schedule = Schedule()
        self._tasks: list[asyncio.Task[None]] = []
        self._selected: str | None = None
        self._jobs: dict[str, tuple[str, ...]] = {}
        self._stale_costs = True

    @property
    def error(self) -> str:
        return next(iter(self._problems.values()), "")

    def cell(self, box_id: str) -> LiveTelemetry | None:
        return self._streams.cells.get(box_id)

    def history(self, box_id: str) -> History | None:
        return self._streams.histories.get(box_id)

    def verdict(self, box_id: str) -> Verdict | None:
        return self._verdicts.get(box_id)

    def runs(self, box_id: str) -> Sequence[RunView]:
        if box_id not in self._runs:
            found = self._tried("runs", partial(_runs, self._ws, box_id), None)
            if found is None:
                return []
            self._runs[box_id] = found
        return self._runs[box_id]

    def events(self, box_id: str) -> Sequence[Event]:
        if box_id not in self._events:
            read = partial(self._ws.store.events.of_box, box_id)
            found = self._tried("events", read, None)
            if found is None:
                return []
            self._events[box_id] = found
        return self._events[box_id]

    async def start(self) -> None:
        self._tried("state", self._read, None)
        turns = {
            "costs": (self._spend, _COSTS_EVERY),
            "providers": (self._ask_providers, _TURN),
            "verdicts": (self._ask_verdicts, _TURN),
            "jobs": (self._ask_runs, _TURN),
            "budgets": (self._keep_budgets, _BUDGETS_EVERY),
            "notices": (self._send_news, _NEWS_EVERY),
        }
        self._tasks = [
            asyncio.create_task(self._repeat(name, turn, every))
            for name, (turn, every) in turns.items()
        ]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await self._streams.stop()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def tick(self) -> None:
        self._tried("state", self._tick, None)

    def _tick(self) -> None:
        if self._data_version() != self._version:
            self._read()
        now = self.clock()
        for box_id in self._streams.tick():
            # cut, or the watchdog said something: the provider may know more
            self._schedule.provider_soon(box_id, now)
            self._schedule.verdict_soon(box_id, now)
        for view in self.views:
            self._watch_jobs(view.box, now)
        if any(view.costing for view in self.views) or self._stale_costs:
            self._price()

    def look(self, selected: str | None, visible: Collection[str], pane: str) -> None:
        if selected != self._selected and selected is not None:
            self._streams.want_history(selected)
            self._schedule.verdict_soon(selected, self.clock())
        self._selected = selected
        self._schedule.look(selected, visible, pane)

    def hurry(self, box_ids: Collection[str]) -> None:
        self._streams.again(box_ids)
        now = self.clock()
        for box_id in box_ids:
            self._schedule.provider_soon(box_id, now)
            self._schedule.verdict_soon(box_id, now)
            self._schedule.runs_soon(box_id, now)

    def _data_version(self) -> int:
        return int(self._ws.store.database.rows("PRAGMA data_version")[0][0])

    def _read(self) -> None:
        """The state file as it is now."""
        version = self._data_version()
        found = self._ws.store.boxes.all(over=True)
        damaged = ", ".join(row.name for row in self._ws.store.boxes.unreadable())
        self._tell(
            "records",
            f"records that cannot be read: {damaged}: devbox doctor --fix" if damaged else "",
        )
        latest = {box.place: box.id for box in found}
        # as in `devbox ls`: a lost box stays in sight until its name is used again
        self._boxes = [
            box
            for box in found
            if not box.state.is_over or (box.state is BoxState.LOST and latest[box.place] == box.id)
        ]
        work = {intent.box_id: intent for intent in self._ws.store.boxes.open_intents()}
        running = [
            box
            for box in self._boxes
            if box.state is BoxState.RUNNING and box.endpoint and _has_boxhalf(work.get(box.id))
        ]
        self._streams.follow(running)
        self._schedule.boxes(self._boxes, self.clock())
        self.recent = self._ws.store.runs.latest(limit=_RECENT)
        self.changes += 1
        self._runs.clear()
        self._events.clear()
        self._tell("runs", "")  # of what is read again when it is in sight
        self._tell("events", "")
        self._stale_costs = True
        self._price()
        self._version = version

    def _price(self) -> None:
        store = self._ws.store
        current = store.ledger.all_current()
        work = {intent.box_id: intent for intent in store.boxes.open_intents()}
        exposed = exposure.of_all(self._ws, self._boxes)
        now = self.clock()
        views = []
        for box in self._boxes:
            intent = work.get(box.id)
            interval = current.get(box.id)
            costing = interval is not None
            micro = interval.price.micro_per_hour if interval else None
            today = self._since(box.id, interval, now)
            # before the first sum there is nothing to tell, least of all $0
            spends = self._spent is not None and (costing or box.id in self._spent.by_box)
            goal, step = (intent.goal, intent.step) if intent else ("", "")
            may = exposed[box.id].sentence if exposed[box.id].may else ""
            view = BoxView(box, costing, micro, today, spends, goal, step, may)
            if guards := self._guards.get(box.id):
                view = view._replace(guards=guards.lines, ceiling=guards.ceiling)
            views.append(view)
        totals = self._sum(list(current.values()), now)
        if views != self.views or totals != self.totals:
            self.views, self.totals = views, totals
            self.changes += 1

    def _since(self, box_id: str, interval: Interval | None, now: float) -> int | None:
        """Spent today: as last summed, and what has gone by since at the present price."""
        if self._spent is None:
            return 0
        return _grown(self._spent.by_box.get(box_id, 0), interval, self._spent.at, now)

    def _sum(self, current: list[Interval], now: float) -> Totals:
        prices = [interval.price.micro_per_hour for interval in current]
        rate, unpriced = sum(p for p in prices if p is not None), prices.count(None)
        if self._spent is None:
            return Totals(rate, unpriced)
        today, month = self._spent.today, self._spent.month
        for interval in current:
            today = _grown(today, interval, self._spent.at, now)
            month = _grown(month, interval, self._spent.at, now)
        return Totals(rate, unpriced, today, month)

    def _watch_jobs(self, box: Box, now: float) -> None:
        cell = self.cell(box.id)
        jobs = (cell.sample.jobs or ()) if cell and cell.sample else ()
        if jobs != self._jobs.get(box.id, ()):
            self._jobs[box.id] = jobs
            self._schedule.runs_soon(box.id, now)

    def _tell(self, source: str, problem: str) -> None:
        """What is wrong with one source of what is shown; '' for nothing."""
        if problem:
            self._problems[source] = problem
        else:
            self._problems.pop(source, None)

    def _tried(self, source: str, read: Callable[[], T], otherwise: T) -> T:
        """What `read` gives; `otherwise` when it fails, which is told."""
        try:
            found = read()
        except Exception as error:
            self._tell(source, said(error))
            return otherwise
        self._tell(source, "")
        return found

    async def _repeat(self, source: str, turn: Callable[[], Awaitable[str]], every: float) -> None:
        """Take turns until cancelled. What a turn returns, or fails with, is told until a later
        one goes well."""
        await asyncio.sleep(_TURN)  # the first picture comes first
        while True:
            try:
                self._tell(source, await turn())
            except Exception as error:
                self._tell(source, said(error))
            await asyncio.sleep(every)

    async def _spend(self) -> str:
        """Sums from the ledger: they may take long when it is large."""
        self._spent = await background.call(lambda: spent(self._side), "costs")
        self._stale_costs = True
        return ""

    async def _keep_budgets(self) -> str:
        """What the budgets ask for is done by a process of its own."""
        await background.call(partial(_keep_budgets, self._side), "budgets")
        return ""

    async def _send_news(self) -> str:
        """Tell the user elsewhere what was learned here."""
        if self._side.spec.notify.is_used:
            await background.call(partial(_send_news, self._side), "notices")
        return ""

    async def _ask_providers(self) -> str:
        due = self._due(self._schedule.providers(self.clock()))
        if not due:
            return self._problems.get("providers", "")
        try:
            fresh = await background.call(partial(_refresh, self._side, due), "providers")
        finally:
            self._schedule.providers_asked(due, self.clock())
        gone = next((box.unreachable for box in fresh if box.unreachable), "")
        return gone and f"unreachable: {gone}"

    async def _ask_verdicts(self) -> str:
        while due := self._due(self._schedule.verdicts(self.clock()))[:1]:
            (box,) = due
            try:
                found, guards = await background.call(partial(_verdict, self._side, box), "verdict")
            finally:
                self._schedule.verdict_asked(box.id, self.clock())
            if guards and guards != self._guards.get(box.id):
                self._guards[box.id] = guards
                self._price()
            if found != self._verdicts.get(box.id):
                self.changes += 1
            if found:
                self._verdicts[box.id] = found
            else:
                self._verdicts.pop(box.id, None)
            self._tell("verdicts", "")
        return self._problems.get("verdicts", "")

    async def _ask_runs(self) -> str:
        due = self._due(self._schedule.runs(self.clock()))
        if not due:
            return self._problems.get("jobs", "")
        waiting = {box.id: _open_runs(self.runs(box.id), box.id) for box in due}
        try:
            if runs := [run for found in waiting.values() for run in found]:
                # what cannot be asked stays as it was; the stream says that it is cut
                await background.call(partial(_refresh_runs, self._side, runs), "runs")
        finally:
            for box in due:
                self._schedule.runs_asked(box.id, bool(waiting[box.id]), self.clock())
        return ""

    def _due(self, box_ids: Collection[str]) -> list[Box]:
        return [box for box in self._boxes if box.id in box_ids]


def _grown(base: int | None, interval: Interval | None, since: float, now: float) -> int | None:
    """A sum in micro-dollars, with what an open interval cost since it was made."""
    if base is None or interval is None:
        return base
    more = None if interval.price.micro_per_hour is None else run_cost([interval], since, now)
    return None if more is None else base + more


# These import on their thread: what they need takes a while to load, and keys come first.


def _refresh(ws: Workspace, boxes: list[Box]) -> list[Box]:
    from devbox import lifecycle

    return lifecycle.refresh(ws, boxes)


def _verdict(ws: Workspace, box: Box) -> tuple[Verdict | None, Guards | None]:
    from devbox import lifecycle

    verdict = lifecycle.idle_status(ws, box)
    with suppress(DevboxError):
        return verdict, lifecycle.guards(ws, box)
    return verdict, None


def _runs(ws: Workspace, box_id: str) -> list[RunView]:
    from devbox.tui import run_views

    return run_views.of_box(ws, box_id)


def _refresh_runs(ws: Workspace, runs: list[Run]) -> list[Run]:
    from devbox.tui import run_views

    return run_views.refresh(ws, runs)


def _open_runs(views: Sequence[RunView], box_id: str) -> list[Run]:
    """Those that this box can be asked about."""
    runs = [view.run for view in views if not view.is_batch]
    return [run for run in runs if run.box_id == box_id and not run.state.is_over]


def _has_boxhalf(work: Intent | None) -> bool:
    """Not while some devbox is still on its way to put our program there."""
    on_its_way = work is not None and work.goal == "running"
    return not (on_its_way and work is not None and _is_alive(work.pid))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _keep_budgets(ws: Workspace) -> None:
    from devbox.lifecycle import enforce  # why here: nobody waits for it before the first picture

    enforce.begin(ws)


def _send_news(ws: Workspace) -> None:
    from devbox.notify import deliver  # why here: few need it, and nobody for the first picture

    deliver.begin(ws)

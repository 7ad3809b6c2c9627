"""The Cost tab: today, this month, this box, by box and by day."""

from __future__ import annotations

from textual.widget import Widget

from devbox.errors import DevboxError
from devbox.state.spending import Line as CostLine
from devbox.text import dollars, duration
from devbox.text_layout import Line, beside, fit, plain
from devbox.tui import background
from devbox.tui.bars import rate
from devbox.tui.feed import RunView
from devbox.tui.ledger_view import Costs
from devbox.tui.panes.base import Page, Seen

_EVERY = 10.0  # seconds


class CostPane(Page):
    """The reports are asked for when it opens, and now and then while it is open."""

    _costs: Costs | None = None
    _asked = 0.0
    _failed = ""

    def draw(self, seen: Seen, width: int) -> list[Line]:
        assert seen.view
        if seen.now - self._asked >= _EVERY:
            self._asked = seen.now
            self.run_worker(self._ask(seen), exclusive=True)
        box, totals = seen.view.box, seen.feed.totals
        lines = [
            _pair("now", rate(totals)),
            _pair("today", dollars(totals.today)),
            _pair("month", dollars(totals.month)),
            [],
            _pair(box.name, _price(seen)),
            _pair("", f"today {dollars(seen.view.today)}"),
        ]
        if box.deadline and seen.view.costing:
            ends = max(0.0, box.deadline - seen.now)
            told = f"max_uptime ends it in {duration(ends)} at the latest"
            if not seen.view.ceiling:
                told = f"max_uptime is reached in {duration(ends)}, but nothing stops it then"
            lines.append(_pair("ceiling", told))
        guards = enumerate(seen.view.guards)
        lines += [_pair("" if i else "guards", plain(each, 200)) for i, each in guards]
        here = [view for view in seen.feed.runs(box.id) if view.run.box_id == box.id]
        lines += [_run(view) for view in here if not view.is_batch][:3]
        if self._failed:
            lines.append([(f" {plain(self._failed, 300)}", "bad")])
        if self._costs is None:
            return [*lines, [], [(" adding up …", "dim")]]
        lines += [_budget(name, said) for name, said in self._costs.budgets]
        across = 3 if width >= 110 else 2 if width >= 70 else 1
        room = (width - 2 * (across - 1)) // across
        blocks = [
            _table("By box", self._costs.by_box, room),
            _table("By day", list(reversed(self._costs.by_day)), room),
            _table("By job", self._costs.by_job, room),
        ]
        lines.append([])
        for start in range(0, 3, across):
            row = blocks[start : start + across]
            lines += [*beside(row, [room] * len(row)), []]
        return lines

    def opened(self, seen: Seen) -> None:
        self._asked = 0.0
        super().opened(seen)

    async def _ask(self, seen: Seen) -> None:
        try:
            self._costs = await background.call(seen.asks.costs, "costs")
            self._failed = ""
        except DevboxError as error:
            self._failed = error.what
        self.refresh_from(seen)

    def target(self) -> Widget:
        return self


def _price(seen: Seen) -> str:
    assert seen.view
    if not seen.view.costing:
        return seen.view.may or "costs nothing now"
    since = seen.view.box.started
    source = plain(seen.view.box.price.source, 60)
    up = "" if since is None else f", for {duration(seen.now - since)}"
    return f"{dollars(seen.view.micro, per_hour=True)} ({source}){up}"


def _pair(name: str, text: str) -> Line:
    return [(f" {fit(plain(name, 40), 14)} ", "accent bold"), (text, "")]


def _budget(name: str, said: str) -> Line:
    return [(f" {'budget':<14} ", "accent bold"), (plain(f"{name}: {said}", 300), "")]


def _run(view: RunView) -> Line:
    return [(f" {'run':<14} ", "accent bold"), (f"{view.run.id}  {dollars(view.cost)}", "")]


def _table(title: str, rows: list[CostLine], width: int) -> list[Line]:
    lines: list[Line] = [[(f" {title}", "accent bold")]]
    if not rows:
        return [*lines, [(" nothing yet", "dim")]]
    for row in rows[:31]:
        unknown = "+?" if row.unknown_seconds > 0 else "  "
        value = f"{duration(row.seconds):>7} {dollars(row.cost):>9}{unknown}"
        lines.append([(f" {fit(plain(row.key), max(6, width - 22))}", ""), (f" {value}", "")])
    if any(row.unknown_seconds > 0 for row in rows):
        lines.append([(" +? has time at an unknown price", "warn")])
    return lines

"""One run: what it was asked to do, how it went, what it cost, and the end of its log."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widget import Widget

from devbox.errors import DevboxError
from devbox.jobs import status
from devbox.jobs.catalogue import COMMAND
from devbox.text import dollars, duration, local_time, size
from devbox.text_layout import Line, plain, wrapped
from devbox.tui import symbols
from devbox.tui.feed import RunView
from devbox.tui.screens.dialog import Answer, Dialog
from devbox.tui.static_lines import Lines

_LABEL = 11  # columns


class RunDetail(Dialog[str]):
    """log: the end of its log, which may take its time."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "move(1)", "Down", show=False),
        Binding("k,up", "move(-1)", "Up", show=False),
        Binding("pagedown,space", "turn(1)", "Page down", show=False),
        Binding("pageup", "turn(-1)", "Page up", show=False),
        Binding("g,home", "go(0)", "First", show=False),
        Binding("G,end", "go(1000000)", "Last", show=False),
        Binding("q", "cancel", "Close", show=False),
    ]
    answers = (Answer("cancel", "Close"),)

    def __init__(self, view: RunView, now: float, log: Callable[[], list[str]]) -> None:
        super().__init__()
        self.title_text = f"Run {view.run.id}"
        self._view, self._now, self._ask_log = view, now, log
        self._log: list[Line] = [[(" reading the log …", "dim")]]

    def body(self) -> Iterable[Widget]:
        yield Lines(id="page")

    def on_mount(self) -> None:
        self.query_one(Lines).focus()
        self.run_worker(self._read())

    def on_resize(self) -> None:
        page = self.query_one(Lines)
        facts = described(self._view, self._now, max(30, page.size.width))
        page.show([*facts, [], [(" Log", "accent bold")], *self._log])

    async def _read(self) -> None:
        try:
            said = await self.ask(self._ask_log)
            self._log = [[(f" {plain(line, 1000)}", "")] for line in said]
            self._log = self._log or [[(" it printed nothing", "dim")]]
        except DevboxError as error:
            self._log = [[(f" {plain(part, 400)}", "warn")] for part in (error.what, error.fix)]
        self.on_resize()

    def action_move(self, rows: int) -> None:
        self.query_one(Lines).move(rows)

    def action_go(self, row: int) -> None:
        self.query_one(Lines).go(row)

    def action_turn(self, pages: int) -> None:
        page = self.query_one(Lines)
        page.move(pages * page.page)


def described(view: RunView, now: float, width: int) -> list[Line]:
    """What is known of a run, a fact a line."""
    run, seen, asked = view.run, status.of(view.run), status.asked(view.run)
    shape, style = symbols.RUN[run.state]
    facts: list[tuple[str, str, str]] = [("state", f"{shape} {run.state}", style)]
    if said := seen.message or seen.note:
        facts.append(("", said, ""))
    facts.append(("box", run.box_name, ""))
    if asked:
        facts.append(("command", " ".join(_command(run.job, asked)), "bold"))
        facts += [("argument", f"{name} = {value}", "") for name, value in asked.args.items()]
        facts += [
            ("input", f"{name} = {asked.sources.get(name, '')}  (on the box: {path})", "")
            for name, path in asked.inputs.items()
        ]
    if run.exit_code is not None:
        facts.append(("exit code", str(run.exit_code), "" if run.exit_code == 0 else "bad bold"))
    if run.started:
        facts.append(("started", local_time(run.started, "%Y-%m-%d %H:%M:%S"), ""))
    took = status.seconds(seen, now)
    again = f", attempt {seen.attempt}" if seen.attempt > 1 else ""
    facts.append(("duration", f"{duration(took)}{again}", ""))
    facts.append(("cost", "unknown" if view.cost is None else dollars(view.cost), ""))
    if seen.peak.rss or seen.peak.vram:
        vram = f", VRAM {size(seen.peak.vram)}" if seen.peak.vram else ""
        facts.append(("memory", f"{size(seen.peak.rss)}{vram}", ""))
    if seen.counts.total:
        counts = seen.counts
        done = f"{counts.done} of {counts.total} done, {counts.failed} failed"
        facts.append(("items", f"{done}, {counts.skipped} skipped", ""))
    facts += [("✖", f"{each.item}: {each.error}", "bad") for each in seen.failures[:20]]
    return [line for fact in facts for line in _lines(*fact, width)]


def _command(job: str, asked: status.Asked) -> list[str]:
    """What ran: the words themselves, or the verb that runs a job of devbox."""
    if asked.command:
        return [shlex.quote(word) for word in (*asked.command, *asked.extra)]
    return ["devbox", "run", job] if job != COMMAND else ["devbox", "run", "--"]


def _lines(label: str, value: str, style: str, width: int) -> list[Line]:
    first, *rest = wrapped(plain(value, 4000), max(10, width - _LABEL - 2)) or [""]
    out: list[Line] = [[(f" {label:<{_LABEL}}", "dim"), (first, style)]]
    return out + [[(" " * (_LABEL + 1), ""), (part, style)] for part in rest]

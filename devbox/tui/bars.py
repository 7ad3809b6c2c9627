"""The dashboard's one-line bars: the summary on top, the tabs, and what is under way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from textual import events
from textual.message import Message

from devbox.model import BoxState
from devbox.text import dollars, local_time
from devbox.text_layout import Line, fit_line, percent, plain, width_of, wrapped
from devbox.tui import actions, fleet
from devbox.tui.actions import PANES
from devbox.tui.feed import BoxView, Feed, Totals
from devbox.tui.operation_manager import Operation
from devbox.tui.static_lines import Lines


class Bar(Lines, can_focus=False):
    """One line that is not for moving in."""

    DEFAULT_CSS = "Bar { height: 1; overflow: hidden hidden; }"


class Parts(Bar):
    """A line of parts that can be clicked. ends: the column where each ends, and what it means."""

    ends: Sequence[tuple[int, str]] = ()

    def picked(self, part: str) -> Message:
        raise NotImplementedError(part)  # why: each line of parts has its own message

    def on_click(self, event: events.Click) -> None:
        for end, part in self.ends:
            if event.x < end:
                if part:
                    self.post_message(self.picked(part))
                return


class Tabs(Parts):
    """The tabs of the details, and whose they are."""

    class Picked(Message):
        def __init__(self, pane: str) -> None:
            super().__init__()
            self.pane = pane

    def picked(self, part: str) -> Message:
        return self.Picked(part)

    def draw(self, pane: str, view: BoxView | None) -> None:
        line: Line = [(" ", "")]
        ends = []
        wide = self.size.width >= 70
        for number, (name, title) in enumerate(PANES.items(), 1):
            label = f" {number} {title} " if wide else f" {title} "
            line.append((label, "accent bold reverse" if name == pane else "dim"))
            ends.append((width_of(line), name))
        self.ends = ends
        if view:
            shape = fleet.state(view)[0]
            who: Line = [shape, (plain(view.box.name), "bold")]
            where = f"  {view.box.alias}" if view.box.state is BoxState.RUNNING else ""
            if self.size.width - width_of(line) > 40 + len(where):
                who.append((where, "dim"))
            if self.size.width >= 140:
                what = f"  {view.box.provider} {view.box.hardware}"
                what += f"  {dollars(view.micro, per_hour=True)}" if view.costing else ""
                what += f"  today {dollars(view.today)}" if view.spends else ""
                who.append((plain(what), "dim"))
            gap = self.size.width - width_of(line) - width_of(who) - 1
            if gap > 0:
                line += [(" " * gap, ""), *who]
        self.show([line])


class Keys(Parts):
    """The keys of the view that has the focus. Those of every view stay in sight on the right."""

    class Picked(Message):
        def __init__(self, action_id: str) -> None:
            super().__init__()
            self.action_id = action_id

    def picked(self, part: str) -> Message:
        return self.Picked(part)

    def draw(self, view: str, keymap: Mapping[str, str], *, readonly: bool) -> None:
        line, self.ends = keys_of(view, keymap, self.size.width, readonly=readonly)
        self.show([line])


def keys_of(
    view: str, keymap: Mapping[str, str], width: int, *, readonly: bool
) -> tuple[Line, list[tuple[int, str]]]:
    """The line and where each of its actions ends. What does not fit is left out, last one first;
    `?` lists it."""
    own, always = (
        [(action.id, _key(action, keymap)) for action in actions.of_view(ids, readonly=readonly)]
        for ids in (actions.SHOWN[view], actions.SHOWN_ALWAYS)
    )
    room = width - sum(width_of(part) for _, part in always)
    while own and sum(width_of(part) for _, part in own) > room:
        own.pop()
    gap = max(0, room - sum(width_of(part) for _, part in own))
    line: Line = []
    ends = []
    for name, part in (*own, ("", [(" " * gap, "")]), *always):
        line += part
        ends.append((width_of(line), name))
    return line, ends


def _key(action: actions.Action, keymap: Mapping[str, str]) -> Line:
    key = actions.keys(action, keymap).split("  ")[0]
    return [(f" {key} ", "accent bold"), (f"{action.label} ", "dim")]


def summary(
    feed: Feed, *, shown: int, held: bool, readonly: bool, words: str, marked: int, width: int
) -> Line:
    """The line on top: how many boxes, what they cost, and what is unusual about the view."""
    totals = feed.totals
    running = sum(view.box.state is BoxState.RUNNING for view in feed.views)
    count = len(feed.views)
    boxes = f"{count} box{'' if count == 1 else 'es'}" if shown == count else f"{shown} of {count}"
    line: Line = [(" devbox ", "accent bold reverse"), (f"  {boxes}, {running} running", "bold")]
    line.append((f"   {rate(totals)}", "warn bold" if totals.rate or totals.unpriced else "dim"))
    line.append((f"   today {dollars(totals.today)}", ""))
    if width >= 90:
        line.append((f"   month {dollars(totals.month)}", ""))
    count_gpus, use = fleet.gpus(feed) if width >= 140 else (0, None)
    if count_gpus:
        line.append((f"   {count_gpus} GPU{'' if count_gpus == 1 else 's'} at {percent(use)}", ""))
    if marked:
        line.append((f"   ◆ {marked} marked", "accent bold"))
    if words:
        line.append((f"   / {plain(words, 40)}", "info bold"))
    if held:
        line.append(("   ‖ display held (F)", "warn bold"))
    if readonly:
        line.append(("   read-only", "info bold"))
    if feed.error:
        line.append((f"   ✖ {plain(feed.error, 200)}", "bad bold"))
    clock = local_time(feed.clock(), "%H:%M:%S ")
    room = width - len(clock)
    if width_of(line) >= room:
        return fit_line(line, width)
    return [*fit_line(line, room), (clock, "dim")]


def rate(totals: Totals) -> str:
    """'$3.60/h', '$3.60/h + 1 unknown'."""
    known = dollars(totals.rate, per_hour=True)
    return f"{known} + {totals.unpriced} unknown" if totals.unpriced else known


def under_way(operations: Sequence[Operation]) -> Line:
    line: Line = []
    for operation in operations[:6]:
        line.append((" ▶ ", "good bold"))
        line.append((plain(operation.title, 60), "bold"))
        share = "" if operation.share is None else f" {percent(100 * operation.share)}"
        line.append((f"{share} {plain(operation.note, 60)} ", "dim"))
    if len(operations) > 6:
        line.append((f" and {len(operations) - 6} more (m)", "dim"))
    return line


class Told(Lines, can_focus=False, inherit_css=False):  # no page of its dialog
    """At the bottom of a dialog: the latest notice, which would cover the dialog as a toast, and
    what is under way."""

    DEFAULT_CSS = """
    Told { dock: bottom; height: auto; min-height: 1; max-height: 4; overflow: hidden hidden; }
    """

    def draw(self, notice: str, severity: str, operations: Sequence[Operation]) -> None:
        style = {"error": "bad bold", "warning": "warn bold"}.get(severity, "bold")
        lines: list[Line] = [
            [(f" {part}", style)] for part in wrapped(notice, self.size.width - 2)[:3]
        ]
        self.show([*(lines if notice else []), *([under_way(operations)] if operations else [])])

"""The fleet table's contents: which columns, what is in them, in what order. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from devbox.model import Box, BoxState
from devbox.telemetry.live import STALE
from devbox.text import brief, dollars, duration
from devbox.text_layout import Line, bar, percent, plain, share, width_of
from devbox.text_layout import cells as cells_of
from devbox.tui import symbols
from devbox.tui.feed import BoxView, Feed
from devbox.tui.grid import Column
from devbox.wire.messages import Sample

if TYPE_CHECKING:
    from devbox.wire.messages import Verdict

COLUMNS = (
    Column("mark", "", 1),
    Column("state", "STATE", 11, most=24, drop=0, letter="S"),
    Column("name", "NAME", 12, most=26, letter="A"),
    Column("provider", "PROVIDER", 8, drop=4, letter="P"),
    Column("hardware", "HARDWARE", 12, most=18, drop=5, letter="H"),
    Column("uptime", "UPTIME", 6, drop=3, letter="U", right=True),
    Column("gpu", "GPU", 7, most=40, letter="B"),
    Column("vram", "VRAM", 7, most=40, letter="V", drop=1),
    Column("cpu", "CPU", 7, most=40, letter="E", drop=6),
    Column("mem", "MEM", 7, most=40, letter="M", drop=7),
    Column("price", "$/H", 9, letter="C", right=True),
    Column("today", "TODAY", 8, letter="T", right=True, drop=2),
    Column("idle", "IDLE", 12, most=16, letter="I"),
)
# Where no box has a GPU, the room is that of what every box has.
_WITHOUT_GPUS = tuple(
    column._replace(drop={"cpu": 0, "mem": 1}.get(column.key, column.drop))
    for column in COLUMNS
    if column.key not in ("gpu", "vram")
)
SORTS = {column.key: column for column in COLUMNS if column.letter}
_MEASURES = ("gpu", "vram", "cpu", "mem")
# Biggest first for what is a measure; names and states from the front of the alphabet.
_DOWN = ("uptime", "gpu", "vram", "cpu", "mem", "price", "today")
_STATES = (
    BoxState.RUNNING,
    BoxState.STARTING,
    BoxState.BUILDING,
    BoxState.PROVISIONING,
    BoxState.PAUSING,
    BoxState.STOPPING,
    BoxState.PAUSED,
    BoxState.FAILED,
    BoxState.LOST,
    BoxState.TERMINATED,
)


class Facts(NamedTuple):
    """A box's live numbers in per cent, None where nothing is known. age: seconds since the
    sample."""

    gpu: float | None = None
    vram: float | None = None
    cpu: float | None = None
    mem: float | None = None
    age: float | None = None


def columns(feed: Feed) -> tuple[Column, ...]:
    """Those of the table: without GPU and VRAM where boxes send values and none has a GPU. Texts
    get the room of the longest, so that bars get what is left."""
    cells = [feed.cell(view.box.id) for view in feed.views]
    samples = [cell.sample for cell in cells if cell and cell.sample]
    found = _WITHOUT_GPUS if samples and not any(s.gpus for s in samples) else COLUMNS
    now = feed.clock()
    longest = {
        "state": max((width_of(state(view)) for view in feed.views), default=0),
        "name": max((cells_of(view.box.name) for view in feed.views), default=0),
        "hardware": max((cells_of(view.box.hardware) for view in feed.views), default=0),
        "idle": max((width_of(idle(v.box, feed.verdict(v.box.id), now)) for v in feed.views),
                    default=0),
    }  # fmt: skip
    return tuple(
        column._replace(most=min(column.most, longest[column.key]), eager=True)
        if column.key in longest
        else column
        for column in found
    )


def facts(feed: Feed, box: Box, now: float) -> Facts:
    cell = feed.cell(box.id)
    sample = cell.sample if cell else None
    if cell is None or sample is None or box.state is not BoxState.RUNNING:
        return Facts()
    mem = share(sample.mem.used, sample.mem.total)
    return Facts(*usage(sample), sample.cpu.util, mem, cell.age(now))


def gpus(feed: Feed) -> tuple[int, float | None]:
    """How many GPUs the running boxes have, and their mean utilisation in per cent."""
    cells = [feed.cell(v.box.id) for v in feed.views if v.box.state is BoxState.RUNNING]
    found = [gpu.util for cell in cells if cell and cell.sample for gpu in cell.sample.gpus or ()]
    known = [util for util in found if util is not None]
    return len(found), sum(known) / len(known) if known else None


def usage(sample: Sample) -> tuple[float | None, float | None]:
    """GPU utilisation (mean) and VRAM (share of all), per cent; None without GPUs."""
    utils = [gpu.util for gpu in sample.gpus or () if gpu.util is not None]
    used = [gpu.mem_used for gpu in sample.gpus or () if gpu.mem_used is not None]
    total = [gpu.mem_total for gpu in sample.gpus or () if gpu.mem_total is not None]
    util = sum(utils) / len(utils) if utils else None
    return util, share(sum(used), sum(total)) if used and total else None


def chosen(views: Iterable[BoxView], words: str) -> list[BoxView]:
    """Those where each word of the filter is in the name, state, provider, hardware or project."""
    wanted = words.lower().split()
    return [view for view in views if all(word in _haystack(view.box) for word in wanted)]


def ordered(
    feed: Feed, views: Sequence[BoxView], column: str, reverse: bool, now: float
) -> list[BoxView]:
    """Sorted by a column, then by name; what is unknown comes last either way round."""
    down = (column in _DOWN) != reverse

    by_name = sorted(views, key=lambda view: view.box.name)
    values = [(_value(feed, view, column, now), view) for view in by_name]
    known = [each for each in values if each[0] is not None]
    known.sort(key=lambda each: each[0], reverse=down)
    return [view for _, view in known] + [view for value, view in values if value is None]


def cell_of(
    feed: Feed, view: BoxView, column: Column, width: int, now: float, marked: bool
) -> Line:
    """What stands in one field of the table."""
    box = view.box
    if column.key in _MEASURES:
        known = facts(feed, box, now)
        return _measure(getattr(known, column.key), known.age, width)
    fields: dict[str, Callable[[], Line]] = {
        "mark": lambda: [("◆" if marked else " ", "accent bold")],
        "state": lambda: state(view),
        "name": lambda: [(plain(box.name), "bold")],
        "provider": lambda: [(plain(box.provider), "")],
        "hardware": lambda: [(plain(box.hardware), "")],
        "uptime": lambda: [(uptime(view, now), "")],
        "price": lambda: price(view),
        "today": lambda: [(dollars(view.today), "")] if view.spends else [("–", "dim")],
        "idle": lambda: idle(box, feed.verdict(box.id), now),
    }
    return fields[column.key]()


def state(view: BoxView) -> Line:
    """'● running', '◑ starting 4/5 login'."""
    shape, style = symbols.BOX[view.box.state]
    line: Line = [(f"{shape} ", style), (str(view.box.state), style)]
    if view.goal:
        where = symbols.progress(view.goal, view.step)
        line.append((f" {where}", "bold"))
        line.append((f" {plain(view.box.stage or view.step, 40)}", "dim"))
    return line


def price(view: BoxView) -> Line:
    if not view.costing:
        return [("may", "warn")] if view.may else [("–", "dim")]
    return [(dollars(view.micro), "" if view.micro is not None else "warn")]


def uptime(view: BoxView, now: float) -> str:
    running = view.costing and view.box.started is not None
    return brief(now - view.box.started) if running and view.box.started else "–"


def idle(box: Box, verdict: Verdict | None, now: float) -> Line:
    """When it pauses by itself, counting down."""
    if box.state is not BoxState.RUNNING or verdict is None:
        return [("–", "dim")]
    left = None if verdict.pauses_at is None else max(0.0, verdict.pauses_at - now)
    near = left is not None and left < 600
    text = "" if left is None else duration(left) if near else brief(left)
    if verdict.state == "active" and verdict.then and not near:
        return [("then pauses" if verdict.then.do == "pause" else "then ends", "info")]
    if verdict.state == "active":
        return [(f"in use {text}" if near and text else "in use", "warn" if near else "good")]
    if verdict.state in ("saving", "pausing"):
        return [(f"{verdict.state}…", "bad bold")]
    if verdict.state == "held":
        return [(f"kept {text}", "info")]
    return [(f"pauses {text}" if text else "idle", "bad bold" if near else "warn")]


def _measure(value: float | None, age: float | None, width: int) -> Line:
    if age is not None and age >= STALE:
        old = " old" if width >= 13 else ""
        return [(f"{percent(value)} {brief(age)}{old}", "warn")]
    if value is None:
        return [("–", "dim")]
    number = percent(value).rjust(4)
    return [*bar(value, width - 5, style="info" if value < 95 else "warn"), (f" {number}", "")]


def _haystack(box: Box) -> str:
    return f"{box.name} {box.state} {box.provider} {box.hardware} {box.project}".lower()


def _value(feed: Feed, view: BoxView, column: str, now: float) -> Any:
    """What a column sorts by; None: not known."""
    box = view.box
    up = box.started if view.costing else None
    if column in _MEASURES:
        return getattr(facts(feed, box, now), column)
    values: dict[str, Callable[[], object]] = {
        "state": lambda: _STATES.index(box.state),
        "name": lambda: box.name,
        "provider": lambda: box.provider,
        "hardware": lambda: box.hardware,
        "uptime": lambda: None if up is None else now - up,
        "price": lambda: view.micro if view.costing else None,
        "today": lambda: view.today if view.spends else None,
        "idle": lambda: _pauses_at(box, feed.verdict(box.id)),
    }
    return values[column]()


def _pauses_at(box: Box, verdict: Verdict | None) -> float | None:
    if verdict is None or box.state is not BoxState.RUNNING:
        return None
    return math.inf if verdict.pauses_at is None else verdict.pauses_at

"""The Load tab: the machine, each GPU in a line, charts of the last minutes, and who uses it."""

from __future__ import annotations

import math

from devbox.model import Box, BoxState
from devbox.telemetry.live import STALE, LiveTelemetry
from devbox.text import duration, size
from devbox.text_layout import Line, bar, beside, chart, fit, percent, plain, rate, share, titled
from devbox.tui import symbols
from devbox.tui.history import History
from devbox.tui.panes.base import Page, Seen
from devbox.wire.messages import Gpu, Sample

WINDOWS = (300.0, 3600.0)
_STATUS = {
    "live": ("●", "good"),
    "connecting": ("◌", "busy"),
    "cut": ("◌", "warn"),
    "refused": ("✖", "bad bold"),
}
_ROWS_SHORT, _ROWS_LEAST, _ROWS_MOST = 3, 5, 9  # of a chart
_SHORT = 24  # rows of the tab below which charts may be short
_AXIS = 7  # columns left of a chart
_NEXT = {
    BoxState.BUILDING: "l follows the build's log",
    BoxState.PAUSED: "w resumes it, ctrl+d ends it permanently",
    BoxState.FAILED: "l shows its log, x checks it, u tries again, ctrl+d ends it",
    BoxState.LOST: "u makes a new one of that name",
}


class LoadPane(Page):
    """window: seconds of the charts. gpu: which one they show, None for all together."""

    window = WINDOWS[0]
    gpu: int | None = None

    def draw(self, seen: Seen, width: int) -> list[Line]:
        assert seen.view
        box = seen.view.box
        cell, history = seen.feed.cell(box.id), seen.feed.history(box.id)
        if cell is None or box.state is not BoxState.RUNNING:
            return absent(box)
        lines = [status_line(cell, seen.now)]
        if cell.error:
            lines.append([(f" {plain(cell.error, 300)}", "warn")])
        if cell.sample:
            lines += machine(cell.sample, width)
            lines += gpus(cell.sample, width)
        below = processes(cell.sample, width) if cell.sample else []
        if history:
            room = self.size.height - len(lines) - 1 - len(below)
            least = _ROWS_SHORT if self.size.height < _SHORT else _ROWS_LEAST
            lines += [[], *charts(history, self.gpu, self.window, width, room, least)]
        return [*lines, *below]

    def next_window(self) -> None:
        self.window = WINDOWS[(WINDOWS.index(self.window) + 1) % len(WINDOWS)]

    def next_gpu(self, count: int) -> None:
        """All, the first, the second, … all."""
        following = 0 if self.gpu is None else self.gpu + 1
        self.gpu = following if following < count else None


def absent(box: Box) -> list[Line]:
    """A box that sends nothing: why, and the key that leads on."""
    shape, style = symbols.BOX[box.state]
    lines: list[Line] = [[], [(f" {shape} {plain(box.name)} is {box.state}", style)]]
    if box.message:
        lines += [[(f"   {plain(part, 300)}", "")] for part in box.message.splitlines()[:8]]
    if box.state in _NEXT:
        lines.append([(f"   {_NEXT[box.state]}", "dim")])
    return lines


def status_line(cell: LiveTelemetry, now: float) -> Line:
    shape, style = _STATUS[cell.status]
    line: Line = [(f" {shape} {cell.status}", style)]
    age = cell.age(now)
    if age is not None and age >= STALE:
        line.append((f"  last values, {duration(age)} old", "warn bold"))
    # samples that flow come from the agent, whatever was last said of it
    if cell.agent is False and (age is None or age >= STALE):
        line.append(("  the watchdog on the box is not running", "bad bold"))
    return line


def machine(sample: Sample, width: int) -> list[Line]:
    """CPU, memory, disk and network: two lines where there is room, else four."""
    cpu, mem, disk, net = sample.cpu, sample.mem, sample.disk, sample.net
    load = "" if cpu.load1 is None else f"  load {cpu.load1:.2f}"
    cores = "" if cpu.count is None else f" of {cpu.count} cores"
    ssh = "" if sample.ssh.sessions is None else f"  ssh {sample.ssh.sessions}"
    two = width >= 110
    room = min(12, max(4, width // 2 - 55)) if two else 12  # columns of a bar
    fields: list[Line] = [
        _measure("CPU", cpu.util, f"{percent(cpu.util)}{cores}{load}", room),
        _measure("MEM", share(mem.used, mem.total), f"{size(mem.used)} of {size(mem.total)}", room),
        _measure(
            "DISK",
            share(disk.used, disk.total),
            f"{size(disk.used)} of {size(disk.total)}  r {rate(disk.read_bps)} "
            f"w {rate(disk.write_bps)}",
            room,
        ),
        [(" NET   ", "accent bold"), (f"↓ {rate(net.rx_bps)}  ↑ {rate(net.tx_bps)}{ssh}", "")],
    ]
    if not two:
        return fields
    half = (width - 2) // 2
    return [
        *beside([[fields[0]], [fields[1]]], [half, half]),
        *beside([[fields[2]], [fields[3]]], [half, half]),
    ]


def gpus(sample: Sample, width: int) -> list[Line]:
    """One line a GPU."""
    if sample.gpus is None:
        return [[(" GPU   not readable: x shows what is missing", "warn")]]
    if not sample.gpus:
        return [[(" GPU   none on this box", "dim")]]
    lines: list[Line] = [[]] if width >= 110 else []
    name = 18 if width >= 100 else 0
    room = max(4, min(24, (width - name - 64) // 2))
    titles = "  # " + (fit("GPU", name) + " " if name else "")
    titles += f"{fit('USE', room + 7)}{fit('VRAM', room)} {'':>14}  {'POWER':>9}  {'TEMP':>5}"
    lines.append([(titles + (f"  {'CLOCK':>8}" if width >= 90 else ""), "dim")])
    for number, gpu in enumerate(sample.gpus):
        index = number if gpu.index is None else gpu.index
        line: Line = [(f" {index:>2} ", "accent bold")]
        if name:
            line.append((fit(plain(gpu.name or "GPU").removeprefix("NVIDIA "), name) + " ", ""))
        line += bar(gpu.util, room, style="info")
        line.append((f" {percent(gpu.util):>4}  ", ""))
        line += bar(share(gpu.mem_used, gpu.mem_total), room)
        line.append((f" {_memory(gpu):>14}", ""))
        line.append((f"  {_watts(gpu):>9}", ""))
        hot = gpu.temp_c is not None and gpu.temp_c >= 85
        line.append((f"  {_degrees(gpu):>5}", "bad bold" if hot else ""))
        if width >= 90:
            line.append((f"  {'–' if gpu.sm_mhz is None else gpu.sm_mhz:>4} MHz", "dim"))
        line += _flags(gpu)
        lines.append(line)
    return lines


def charts(
    history: History, gpu: int | None, window: float, width: int, height: int, least: int
) -> list[Line]:
    """Utilisation, VRAM, power and temperature; without GPUs CPU and memory. As high as `height`
    rows for all of them allow; least: rows of one whatever they allow."""
    most = 4 if history.gpus else 2
    across = min(most, 4 if width >= 150 else 2 if width >= 60 else 1)
    room = (width - 2 * (across - 1)) // across
    past = f"last {duration(window).removesuffix('00s').removesuffix('00m')}"
    names: list[tuple[str, str, str, float]] = [
        ("CPU", "cpu", "%", 100.0),
        ("MEM", "mem", "%", 100.0),
    ]
    if history.gpus:
        which = f"GPU {gpu}" if gpu is not None else "GPU" if history.gpus == 1 else "GPUs"
        names = [
            (f"{which} use", "util", "%", 100.0),
            ("VRAM", "mem", "%", 100.0),
            ("Power", "power", " W", 0.0),
            ("Temperature", "temp", "°C", 100.0),
        ]
    rows = min(_ROWS_MOST, max(least, height // -(-len(names) // across) - 2))
    columns = room - _AXIS
    blocks = []
    for title, name, unit, top in names:
        if not history.gpus:
            values = history.window(name, window, columns)
        elif gpu is None:
            values = history.combined(name, window, columns)
        else:
            values = history.window(f"{gpu}.{name}", window, columns)
        values = values or [math.nan] * columns
        blocks.append(_block(title, values, unit, top, rows, past))
    lines: list[Line] = []
    for start in range(0, len(blocks), across):
        row = blocks[start : start + across]
        lines += [*beside(row, [room] * len(row)), []]
    return lines


def processes(sample: Sample, width: int) -> list[Line]:
    """Who holds GPU memory, most first."""
    found = [
        (process.mem_used or 0, number, process)
        for number, gpu in enumerate(sample.gpus or ())
        for process in gpu.processes or ()
    ]
    if not found:
        return []
    lines: list[Line] = [titled(" Processes on the GPUs", f"{len(found)}", width)]
    for used, gpu, process in sorted(found, key=lambda row: (-row[0], row[1]))[:30]:
        pid = "–" if process.pid is None else str(process.pid)
        lines.append(
            [
                (f" {gpu:>3}  {pid:>8}  {size(used):>9}  ", "dim"),
                (plain(process.name or "–", 100), ""),
            ]
        )
    return lines


def _block(
    title: str, values: list[float], unit: str, top: float, rows: int, past: str
) -> list[Line]:
    """A heading and a chart with its scale at the left."""
    known = [v for v in values if not math.isnan(v)]
    top = top or _round_up(max(known, default=0.0))
    latest = "–" if not known else f"{known[-1]:.0f}{unit}"
    most = f"max {max(known):.0f}{unit}  {past}" if known else past
    room = len(values) + _AXIS
    style = {"%": "info", " W": "warn", "°C": "rest"}[unit]
    head: Line = [(f" {title} ", "accent bold"), (latest, "bold")]
    gap = room - len(title) - len(latest) - len(most) - 2
    if gap > 0:
        head += [(" " * gap, ""), (most, "dim")]
    scale = [f"{top:.0f}{unit.strip()}", *[""] * (rows - 2), "0"]
    drawn = zip(scale, chart(values, rows, top), strict=True)
    return [head, *[[(f"{mark:>{_AXIS - 1}} ", "dim"), (row, style)] for mark, row in drawn]]


def _round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, 20, …: a scale that does not move with every sample."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value)


def _measure(name: str, value: float | None, text: str, room: int) -> Line:
    return [(f" {name:<5} ", "accent bold"), *bar(value, room), (f" {text}", "")]


def _memory(gpu: Gpu) -> str:
    if gpu.mem_used is None or gpu.mem_total is None:
        return "–"
    return f"{gpu.mem_used / 1024**3:.1f}/{gpu.mem_total / 1024**3:.0f} GB"


def _watts(gpu: Gpu) -> str:
    if gpu.power_w is None:
        return "–"
    limit = "" if gpu.power_limit_w is None else f"/{gpu.power_limit_w:.0f}"
    return f"{gpu.power_w:.0f}{limit} W"


def _degrees(gpu: Gpu) -> str:
    return "–" if gpu.temp_c is None else f"{gpu.temp_c:.0f}°C"


def _flags(gpu: Gpu) -> Line:
    line: Line = []
    if gpu.mig:
        line.append(("  MIG", "info"))
    if gpu.throttle:
        words = ", ".join(plain(reason, 30).replace("_", " ") for reason in gpu.throttle)
        line.append((f"  ▼ {words}", "warn"))
    if gpu.ecc_errors:
        line.append((f"  ✖ {gpu.ecc_errors} memory errors", "bad bold"))
    return line

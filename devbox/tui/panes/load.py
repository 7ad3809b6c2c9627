"""The Load tab: the machine, each GPU in a line, charts of the last minutes, and who uses it."""

from __future__ import annotations

from devbox.model import Box, BoxState
from devbox.telemetry.live import STALE, LiveTelemetry
from devbox.telemetry.process_list import process_lines
from devbox.text import duration, size
from devbox.text_layout import Line, bar, beside, cells, fit, percent, plain, rate, share, width_of
from devbox.tui import fleet, symbols
from devbox.tui.charts import charts
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
_GAP = 2
_PROCESSES = 30
_CHARTS = 14  # rows of all charts together, whatever else is shown
_NEXT = {
    BoxState.BUILDING: "L follows the build's log",
    BoxState.PAUSED: "w resumes it, ctrl+d ends it permanently",
    BoxState.FAILED: "L shows its log, x checks it, u tries again, ctrl+d ends it",
    BoxState.LOST: "u makes a new one of that name",
}


class LoadPane(Page):
    """window: seconds of the charts. gpu: which one they show, None for all together."""

    window = WINDOWS[0]
    gpu: int | None = None
    _drawn: tuple[object, list[Line]] = (None, [])

    def draw(self, seen: Seen, width: int) -> list[Line]:
        assert seen.view
        box = seen.view.box
        cell, history = seen.feed.cell(box.id), seen.feed.history(box.id)
        if cell is None or box.state is not BoxState.RUNNING:
            return absent(box)
        lines = [status_line(cell, seen.now)]
        idle = idle_line(seen)
        if width_of(lines[0]) + width_of(idle) <= width:
            lines[0] += idle
        elif width >= 60:
            lines.append([(" IDLE ", "accent bold"), *idle[1:]])
        if cell.error:
            lines.append([(f" {plain(cell.error, 300)}", "warn")])
        if cell.sample:
            lines += machine(cell.sample, width)
            lines += gpus(cell.sample, width)
        below = process_lines(cell, _PROCESSES, width)
        if history:
            # charts take the room; the list of processes is scrolled to where it is long
            room = self.size.height - len(lines)
            room -= min(len(below), max(6, room // 3))
            lines += self._charts(box.id, history, width, max(_CHARTS, room))
        return [*lines, *below]

    def _charts(self, box_id: str, history: History, width: int, height: int) -> list[Line]:
        """Drawn again only when something was measured since, or they look different now."""
        key = (box_id, history.latest, self.gpu, self.window, width, height)
        if key != self._drawn[0]:
            self._drawn = key, charts(history, self.gpu, self.window, width, height)
        return self._drawn[1]

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
    if cell.sample:
        net, ssh = cell.sample.net, cell.sample.ssh.sessions
        line += [("  NET ", "accent bold"), (f"↓ {rate(net.rx_bps)}  ↑ {rate(net.tx_bps)}", "")]
        line += [] if ssh is None else [("  SSH ", "accent bold"), (str(ssh), "")]
    return line


def idle_line(seen: Seen) -> Line:
    """When the box pauses by itself, and why not before."""
    assert seen.view
    box = seen.view.box
    verdict = seen.feed.verdict(box.id)
    if verdict is None:
        return []
    why = "; ".join(plain(reason, 100) for reason in verdict.reasons[:3])
    return [("  IDLE ", "accent bold"), *fleet.idle(box, verdict, seen.now), (f"  {why}", "dim")]


def machine(sample: Sample, width: int) -> list[Line]:
    """CPU, memory and disk: in one line where there is room, else each in its own."""
    cpu, mem, disk = sample.cpu, sample.mem, sample.disk
    load = "" if cpu.load1 is None else f"  load {cpu.load1:.2f}"
    cores = "" if cpu.count is None else f" of {cpu.count} cores"
    disk_text = (
        f"{size(disk.used)} of {size(disk.total)}  r {rate(disk.read_bps)} w {rate(disk.write_bps)}"
    )
    fields: list[tuple[str, float | None, str]] = [
        ("CPU", cpu.util, f"{percent(cpu.util)}{cores}{load}"),
        ("MEM", share(mem.used, mem.total), f"{size(mem.used)} of {size(mem.total)}"),
        ("DISK", share(disk.used, disk.total), disk_text),
    ]
    across = 3 if width >= 150 else 1
    room = (width - _GAP * (across - 1)) // across
    longest = max(len(text) for _, _, text in fields)
    wide = max(4, min(60, room - longest - 9))  # columns of a bar
    lines: list[Line] = [_measure(*field, wide) for field in fields]
    if across == 1:
        return lines
    return beside([[line] for line in lines], [room] * across, _GAP)


def gpus(sample: Sample, width: int) -> list[Line]:
    """One line a GPU."""
    if sample.gpus is None:
        return [[(" GPU   not readable: x shows what is missing", "warn")]]
    if not sample.gpus:
        return [[(" GPU   none on this box", "dim")]]
    names = [plain(gpu.name or "GPU").removeprefix("NVIDIA ") for gpu in sample.gpus]
    name = min(18, max(map(cells, names))) if width >= 95 else 0
    room = max(4, min(40, (width - name - (64 if width >= 90 else 53)) // 2))
    titles = "  # " + (fit("GPU", name) + " " if name else "")
    titles += f"{fit('USE', room + 7)}{fit('VRAM', room)} {'':>14}  {'POWER':>9}  {'TEMP':>5}"
    lines: list[Line] = [[(titles + (f"  {'CLOCK':>8}" if width >= 90 else ""), "dim")]]
    for number, gpu in enumerate(sample.gpus):
        index = number if gpu.index is None else gpu.index
        line: Line = [(f" {index:>2} ", "accent bold")]
        if name:
            line.append((fit(names[number], name) + " ", ""))
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

"""One box's cell as lines of styled text that fit a terminal. Pure: what draws it comes later.

A line is a list of (text, style); styles are rich's names. Without styles the lines are plain.
"""

from __future__ import annotations

from devbox.telemetry.live import LiveTelemetry
from devbox.text import duration, size
from devbox.wire.messages import Gpu, Sample

Line = list[tuple[str, str]]

STALE = 5.0  # seconds after which the age is shown
_BAR = 20
_PARTS = " ▏▎▍▌▋▊▉█"
_STATUS = {"live": "green", "connecting": "yellow", "cut": "yellow", "refused": "red"}
_MAX_PROCESSES = 4


def lines(cell: LiveTelemetry, now: float, width: int = 80, note: str = "") -> list[Line]:
    """The box at a glance. note: shown beside its name (price, pause time)."""
    rows = [_head(cell, now, note)]
    if cell.sample:
        rows += _machine(cell.sample)
        for gpu in cell.sample.gpus or ():
            rows += _gpu(gpu)
        if cell.sample.gpus is None:
            rows.append([("GPU    not readable: see devbox doctor " + cell.name, "yellow")])
        if cell.sample.jobs:
            rows.append([("JOBS   ", "bold"), (", ".join(cell.sample.jobs), "cyan")])
    if cell.error:
        rows.append([(cell.error, "red" if cell.status == "refused" else "yellow")])
    elif cell.agent is False:
        rows.append([(f"the watchdog on the box is not running: devbox up {cell.name}", "red")])
    return [_cut(row, width) for row in rows]


def plain(rows: list[Line]) -> str:
    """Lines without any style."""
    return "\n".join("".join(text for text, _ in row).rstrip() for row in rows)


def bar(percent: float | None, width: int = _BAR) -> Line:
    """A bar of `width` cells; unknown is a dotted one."""
    if percent is None:
        return [("·" * width, "dim")]
    share = min(100.0, max(0.0, percent)) / 100 * width
    whole, rest = int(share), int((share - int(share)) * 8)
    full = "█" * whole + (_PARTS[rest] if whole < width and rest else "")
    style = "red" if percent >= 90 else "yellow" if percent >= 70 else "green"
    return [(full, style), ("·" * (width - len(full)), "dim")]


def _head(cell: LiveTelemetry, now: float, note: str) -> Line:
    row: Line = [(cell.name, "bold"), (f"  {cell.status}", _STATUS[cell.status])]
    age = cell.age(now)
    if age is not None and age >= STALE:
        row.append((f"  {duration(age)} old", "red"))
    if note:
        row.append((f"  {note}", "dim"))
    return row


def _machine(sample: Sample) -> list[Line]:
    cpu, mem, disk, net, ssh = sample.cpu, sample.mem, sample.disk, sample.net, sample.ssh
    load = "" if cpu.load1 is None else f"   load {cpu.load1:.2f}"
    cores = "" if cpu.count is None else f" of {cpu.count} cores"
    rows = [
        _row("CPU", cpu.util, f"{_percent(cpu.util)}{cores}{load}"),
        _row("MEM", share(mem.used, mem.total), _of(mem.used, mem.total)),
        _row(
            "DISK",
            share(disk.used, disk.total),
            f"{_of(disk.used, disk.total)}   r {rate(disk.read_bps)} w {rate(disk.write_bps)}",
        ),
    ]
    text = f"↓ {rate(net.rx_bps)}  ↑ {rate(net.tx_bps)}"
    if ssh.sessions is not None:
        text += f"   ssh sessions {ssh.sessions}"
    if sample.requests is not None:
        text += f"   requests {sample.requests}"
    return [*rows, [("NET    ", "bold"), (text, "")]]


def _gpu(gpu: Gpu) -> list[Line]:
    name = "GPU" if gpu.index is None else f"GPU{gpu.index}"
    facts = [
        gpu.name or "unknown GPU",
        "MIG" if gpu.mig else "",
        "" if gpu.temp_c is None else f"{gpu.temp_c:.0f}°C",
        _watts(gpu),
        "" if gpu.sm_mhz is None else f"{gpu.sm_mhz} MHz",
    ]
    rows: list[Line] = [[(f"{name:<6} ", "bold"), ("  ".join(fact for fact in facts if fact), "")]]
    rows.append(_row("  util", gpu.util, _percent(gpu.util)))
    rows.append(
        _row("  vram", share(gpu.mem_used, gpu.mem_total), _of(gpu.mem_used, gpu.mem_total))
    )
    if gpu.throttle:
        rows.append([("       throttled: " + ", ".join(gpu.throttle), "yellow")])
    if gpu.ecc_errors:
        rows.append([(f"       {gpu.ecc_errors} uncorrected memory errors", "red")])
    for process in (gpu.processes or ())[:_MAX_PROCESSES]:
        text = f"       {process.pid or '–'} {process.name or '–'} {size(process.mem_used)}"
        rows.append([(text, "dim")])
    return rows


def _row(name: str, percent: float | None, text: str) -> Line:
    return [(f"{name:<6} ", "bold"), *bar(percent), (f"  {text}", "")]


def share(used: int | None, total: int | None) -> float | None:
    """Per cent; None when either is unknown."""
    return 100 * used / total if used is not None and total else None


def rate(per_second: float | None) -> str:
    """Bytes a second for people."""
    return "–" if per_second is None else size(per_second) + "/s"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f} %"


def _of(used: int | None, total: int | None) -> str:
    return f"{size(used)} of {size(total)}"


def _watts(gpu: Gpu) -> str:
    if gpu.power_w is None:
        return ""
    limit = "" if gpu.power_limit_w is None else f" of {gpu.power_limit_w:.0f}"
    return f"{gpu.power_w:.0f}{limit} W"


def _cut(row: Line, width: int) -> Line:
    """The line, ended with an ellipsis where the terminal ends."""
    from rich.cells import cell_len, set_cell_size  # why here: most verbs draw nothing

    out: Line = []
    room = width
    for raw, style in row:
        text = raw.replace("\n", " ").replace("\t", " ")
        taken = cell_len(text)
        if taken > room:
            return [*out, (set_cell_size(text, max(0, room - 1)) + "…", style)]
        out.append((text, style))
        room -= taken
    return out

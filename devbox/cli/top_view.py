"""What a box does right now, as lines that fit a terminal. Pure."""

from __future__ import annotations

from devbox.telemetry.live import STALE, LiveTelemetry
from devbox.telemetry.process_list import process_lines
from devbox.text import duration, size
from devbox.text_layout import Line, bar, fit_line, percent, rate, share
from devbox.wire.messages import Gpu, Sample

_BAR = 20
_STATUS = {"live": "good", "connecting": "warn", "cut": "warn", "refused": "bad"}
PROCESSES, _FEW = 12, 4


def lines(
    cell: LiveTelemetry, now: float, width: int = 80, note: str = "", processes: int = _FEW
) -> list[Line]:
    """The box at a glance. note: shown beside its name (price, pause time). processes: how many
    are listed at most."""
    rows = [_head(cell, now, note)]
    if cell.sample:
        rows += _machine(cell.sample)
        for gpu in cell.sample.gpus or ():
            rows += _gpu(gpu)
        if cell.sample.gpus is None:
            rows.append([("GPU    not readable: see devbox doctor " + cell.name, "warn")])
        if cell.sample.jobs:
            rows.append([("JOBS   ", "bold"), (", ".join(cell.sample.jobs), "accent")])
        rows += process_lines(cell, processes)
    if cell.error:
        rows.append([(cell.error, "bad" if cell.status == "refused" else "warn")])
    elif cell.agent is False:
        rows.append([(f"the watchdog on the box is not running: devbox up {cell.name}", "bad")])
    flat = [
        [(" ".join(text.splitlines()).expandtabs(1), style) for text, style in row] for row in rows
    ]
    return [fit_line(row, width) for row in flat]


def plain(rows: list[Line]) -> str:
    """Lines without any style."""
    return "\n".join("".join(text for text, _ in row).rstrip() for row in rows)


def _head(cell: LiveTelemetry, now: float, note: str) -> Line:
    row: Line = [(cell.name, "bold"), (f"  {cell.status}", _STATUS[cell.status])]
    age = cell.age(now)
    if age is not None and age >= STALE:
        row.append((f"  {duration(age)} old", "bad"))
    if note:
        row.append((f"  {note}", "dim"))
    return row


def _machine(sample: Sample) -> list[Line]:
    cpu, mem, disk, net, ssh = sample.cpu, sample.mem, sample.disk, sample.net, sample.ssh
    load = "" if cpu.load1 is None else f"   load {cpu.load1:.2f}"
    cores = "" if cpu.count is None else f" of {cpu.count} cores"
    rows = [
        _row("CPU", cpu.util, f"{percent(cpu.util)}{cores}{load}"),
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
    rows.append(_row("  util", gpu.util, percent(gpu.util)))
    rows.append(
        _row("  vram", share(gpu.mem_used, gpu.mem_total), _of(gpu.mem_used, gpu.mem_total))
    )
    if gpu.throttle:
        rows.append([("       throttled: " + ", ".join(gpu.throttle), "warn")])
    if gpu.ecc_errors:
        rows.append([(f"       {gpu.ecc_errors} uncorrected memory errors", "bad")])
    return rows


def _row(name: str, value: float | None, text: str) -> Line:
    return [(f"{name:<6} ", "bold"), *bar(value, _BAR), (f"  {text}", "")]


def _of(used: int | None, total: int | None) -> str:
    return f"{size(used)} of {size(total)}"


def _watts(gpu: Gpu) -> str:
    if gpu.power_w is None:
        return ""
    limit = "" if gpu.power_limit_w is None else f" of {gpu.power_limit_w:.0f}"
    return f"{gpu.power_w:.0f}{limit} W"

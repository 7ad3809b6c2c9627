"""The process list of `devbox top` and of the dashboard: one drawing for both. Pure."""

from __future__ import annotations

from typing import NamedTuple

from devbox.telemetry.live import LiveTelemetry
from devbox.text import size
from devbox.text_layout import Line, fit, plain


class Row(NamedTuple):
    """cpu: per cent of one core; mem, vram: bytes, and gpus: whose it is. None: not known."""

    pid: int | None
    name: str
    cpu: float | None
    mem: int | None
    vram: int | None = None
    gpus: tuple[int, ...] = ()


def rows(cell: LiveTelemetry) -> list[Row]:
    """Who holds GPU memory, most first; then the others, the busiest first."""
    told = {each.pid: each for each in cell.processes}
    held: dict[object, Row] = {}
    for number, gpu in enumerate((cell.sample.gpus if cell.sample else None) or ()):
        for process in gpu.processes or ():
            known = told.get(process.pid if process.pid is not None else -1)
            # a process on several GPUs is one row; without a pid each is its own
            key: object = (number, len(held)) if process.pid is None else process.pid
            before = held.get(key)
            held[key] = Row(
                process.pid,
                process.name or (known.name if known else ""),
                known.cpu if known else None,
                known.mem if known else None,
                (process.mem_used or 0) + (before.vram or 0 if before else 0),
                (*(before.gpus if before else ()), gpu.index if gpu.index is not None else number),
            )
    on_gpus = sorted(held.values(), key=lambda row: -(row.vram or 0))
    others = [Row(*each) for each in cell.processes if each.pid not in held]
    return [*on_gpus, *others]


def process_lines(cell: LiveTelemetry, most: int) -> list[Line]:
    """A heading and at most `most` rows; nothing where nothing is known."""
    found = rows(cell)
    if not found:
        return []
    on_gpu = any(row.gpus for row in found)
    titles = f" {'PID':>8}  {'CPU':>6}  {'MEM':>9}" + (
        f"  {'VRAM':>9}  {'GPU':>4}" if on_gpu else ""
    )
    lines: list[Line] = [[(titles, "dim"), ("  PROCESS", "dim")]]
    for row in found[:most]:
        pid = "–" if row.pid is None else str(row.pid)
        cpu = "–" if row.cpu is None else f"{row.cpu:.0f}%"
        text = f" {pid:>8}  {cpu:>6}  {size(row.mem):>9}"
        if on_gpu:
            gpus = ",".join(map(str, row.gpus)) or "–"
            text += f"  {size(row.vram) if row.gpus else '–':>9}  {fit(gpus, 4, right=True)}"
        lines.append([(text, ""), ("  " + plain(row.name or "–", 100), "bold")])
    return lines

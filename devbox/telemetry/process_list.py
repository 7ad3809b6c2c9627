"""The process list of `devbox top` and of the dashboard: one drawing for both. Pure."""

from __future__ import annotations

from typing import NamedTuple

from devbox.telemetry.live import LiveTelemetry
from devbox.text import size
from devbox.text_layout import Line, bar, fit, plain, share
from devbox.wire.messages import Sample


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


_NAME, _BAR = 18, 10  # columns of a name beside a bar, and of the least bar


def process_lines(cell: LiveTelemetry, most: int, width: int = 0) -> list[Line]:
    """A heading and at most `most` rows; nothing where nothing is known. width: of a line, which
    ends in a bar where there is room: the share of the memory that the process holds."""
    found = rows(cell)
    if not found:
        return []
    on_gpu = any(row.gpus for row in found)
    room = width - (44 if on_gpu else 29) - _NAME
    titles = f" {'PID':>7}  {'CPU':>5}  {'MEM':>9}" + (
        f"  {'VRAM':>9}  {'GPU':>4}" if on_gpu else ""
    )
    titles += "  PROCESS" if room < _BAR else f"  {fit('PROCESS', _NAME)} SHARE OF MEMORY"
    lines: list[Line] = [[(titles, "dim")]]
    for row in found[:most]:
        pid = "–" if row.pid is None else str(row.pid)
        cpu = "–" if row.cpu is None else f"{row.cpu:.0f}%"
        text = f" {pid:>7}  {cpu:>5}  {size(row.mem):>9}"
        if on_gpu:
            gpus = ",".join(map(str, row.gpus)) or "–"
            text += f"  {size(row.vram) if row.gpus else '–':>9}  {fit(gpus, 4, right=True)}"
        name = plain(row.name or "–", 100)
        line: Line = [(text + "  ", ""), (name if room < _BAR else fit(name, _NAME), "bold")]
        if room >= _BAR:
            line += [(" ", ""), *bar(_held(row, cell.sample), min(60, room))]
        lines.append(line)
    return lines


def _held(row: Row, sample: Sample | None) -> float | None:
    """Per cent of the memory of its GPUs that it holds, or of the box's without one."""
    if sample is None:
        return None
    if not row.gpus:
        return share(row.mem, sample.mem.total)
    totals = [gpu.mem_total or 0 for n, gpu in enumerate(sample.gpus or ())
              if (n if gpu.index is None else gpu.index) in row.gpus]  # fmt: skip
    return share(row.vram, sum(totals))

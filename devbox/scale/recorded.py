"""The seconds of a batch's pieces, as far as earlier runs on some hardware tell."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from devbox.jobs.fetch import NOTES
from devbox.money.past_runs import PastRun
from devbox.scale.simulate import Item

_MOST = 32 << 20  # bytes of a journal that is read
_ENOUGH = 0.8  # of the pieces whose own time must be on record for the others to be guessed from it
#: in a run's folder of results
JOURNAL = f"{NOTES}/items.jsonl"


class Times(NamedTuple):
    """load: seconds before the first piece, None where no run tells. source: a sentence."""

    items: list[Item]
    load: float | None
    source: str


class Journal(NamedTuple):
    """What a run's items.jsonl tells. seconds: of each item, which add up to those that the run
    worked on items, as several may be under way at a time. load: those before the first."""

    run: str
    seconds: dict[str, float]
    load: float


def times(
    pieces: Mapping[str, int | None], runs: Sequence[PastRun], results: Path
) -> Times | None:
    """Of pieces, by name and bytes, on the hardware that `runs` were on; None where nothing tells.
    results: the folder with what was fetched of them."""
    ended = [run for run in runs if run.state == "succeeded" and run.items > 0]
    for run in ended:
        if found := read(results / run.id, run):
            return _by_name(pieces, found)
    rates = [run.seconds / run.items for run in ended]
    if not rates:
        return None
    mean = statistics.median(rates)
    how = "all alike" if _sizes(pieces) is None else "by the bytes of each"
    said = f"the median of {len(rates)} earlier runs, {how}; setup and model are in it"
    if len(rates) == 1:
        said = f"those of run {ended[0].id}, {how}; setup and model are in it"
    return Times(_spread(pieces, mean), None, said)


def read(folder: Path, run: PastRun) -> Journal | None:
    """None where it was not fetched, is damaged, or tells of a run that was retried."""
    file = folder / JOURNAL
    seconds: dict[str, float] = {}
    first = last = None
    try:
        if file.stat().st_size > _MOST:
            return None
        for line in file.read_bytes().splitlines():
            record = msgspec.json.decode(line, type=_Record)
            first = record.t if first is None else first
            if record.attempt != 1:
                return None
            if record.state == "done" and record.seconds is not None:
                seconds[record.item], last = max(0.0, record.seconds), record.t
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    together = sum(seconds.values())
    if first is None or last is None or not 0 < last - first <= run.seconds or not together:
        return None
    scale = (last - first) / together
    return Journal(
        run.id, {name: each * scale for name, each in seconds.items()}, run.seconds - (last - first)
    )


class _Record(msgspec.Struct):
    t: float
    item: str
    state: str
    attempt: int
    seconds: float | None = None
    error: Any = None


def _by_name(pieces: Mapping[str, int | None], found: Journal) -> Times:
    """Their own times where most are on record, else by its mean."""
    mean = statistics.fmean(found.seconds.values())
    own = [name for name in pieces if name in found.seconds]
    spread = {item.name: item for item in _spread(pieces, mean)}
    said = f"the mean of run {found.run}"
    if len(own) >= _ENOUGH * len(pieces):
        said = f"those of run {found.run} of these very items"
        if len(own) < len(pieces):
            said += f", {len(pieces) - len(own)} by its mean"
        for name in own:
            spread[name] = spread[name]._replace(seconds=found.seconds[name])
    elif _sizes(pieces) is not None:
        said += ", by the bytes of each"
    return Times([*spread.values()], found.load, said)


def _spread(pieces: Mapping[str, int | None], mean: float) -> list[Item]:
    """As long as their mean says, by their bytes where those are known."""
    sizes = _sizes(pieces)
    if sizes is None:
        return [Item(name, 1.0, mean) for name in pieces]
    each = sum(sizes.values()) / len(sizes)
    return [Item(name, size, mean * size / each, round(size)) for name, size in sizes.items()]


def _sizes(pieces: Mapping[str, int | None]) -> dict[str, float] | None:
    """None where one is not known. An empty file is a piece too."""
    if any(size is None for size in pieces.values()):
        return None
    return {name: float(max(1, size or 0)) for name, size in pieces.items()}

"""The seconds of a batch's pieces, as far as earlier runs on some hardware tell."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from devbox.described import described
from devbox.model import PieceState
from devbox.money.past_runs import PastRun
from devbox.scale.simulate import Item
from devbox.state.store import Store

_MOST = 32 << 20  # bytes of a journal that is read
_ENOUGH = 0.8  # of the pieces whose own time must be on record for the others to be guessed from it
#: in a run's folder of results, where `devbox.jobs.fetch` puts it
JOURNAL = ".devbox/items.jsonl"


class Times(NamedTuple):
    """load: seconds before the first piece, None where no run tells. source: a sentence."""

    items: list[Item]
    load: float | None
    source: str


class Record(NamedTuple):
    """What a run or a batch tells of its items. what: "run ID". seconds: of each. load: those
    before the first; None where it does not tell. bytes: of each item's files then; None for a
    run."""

    what: str
    seconds: dict[str, float]
    load: float | None
    bytes: dict[str, int] | None = None


def times(
    pieces: Mapping[str, int | None], runs: Sequence[PastRun], results: Path, store: Store
) -> Times | None:
    """Of pieces, by name and bytes, on the hardware that `runs` were on, newest first; None where
    nothing tells. results: the folder with what was fetched of them."""
    for run in (run for run in runs if run.state == "succeeded"):
        if found := of_batch(store, run.batch, runs) if run.batch else of_run(results, run):
            return _by_name(pieces, found)
    ended = [run for run in runs if run.state == "succeeded" and run.items > 0 and not run.batch]
    rates = [run.seconds / run.items for run in ended]
    if not rates:
        return None
    mean = statistics.median(rates)
    how = "all alike" if _sizes(pieces) is None else "by the bytes of each"
    said = f"the median of {len(rates)} earlier runs, {how}; setup and model are in it"
    if len(rates) == 1:
        said = f"those of run {ended[0].id}, {how}; setup and model are in it"
    return Times(_spread(pieces, mean), None, said)


def of_run(results: Path, run: PastRun) -> Record | None:
    """By its items.jsonl; None where that was not fetched, is damaged, or is of a run that was
    retried. The seconds add up to those that it worked on items, as several may be under way at a
    time."""
    file = results / run.id / JOURNAL
    seconds: dict[str, float] = {}
    first = last = None
    try:
        if file.stat().st_size > _MOST:
            return None
        for line in file.read_bytes().splitlines():
            record = msgspec.json.decode(line, type=described(_Line))
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
    scaled = {name: each * scale for name, each in seconds.items()}
    return Record(f"run {run.id}", scaled, run.seconds - (last - first))


def of_batch(store: Store, batch: str, runs: Sequence[PastRun]) -> Record | None:
    """By what its parts among `runs` finished."""
    workers = {run.id.rpartition("-w")[2] for run in runs if run.batch == batch}
    done: dict[str, float] = {}
    sizes: dict[str, int] = {}
    for piece in store.batches.pieces(batch):
        if piece.state is PieceState.DONE and piece.seconds and str(piece.worker) in workers:
            done[piece.name], sizes[piece.name] = piece.seconds, piece.bytes
    return Record(f"batch {batch}", done, None, sizes) if done else None


class _Line(msgspec.Struct):
    t: float
    item: str
    state: str
    attempt: int
    seconds: float | None = None
    error: Any = None


def _by_name(pieces: Mapping[str, int | None], found: Record) -> Times:
    """Their own times where most are on record, else by its mean."""
    mean = statistics.fmean(found.seconds.values())
    own = [name for name in pieces if name in found.seconds]
    spread = {item.name: item for item in _spread(pieces, mean)}
    said = f"the mean of {found.what}"
    if len(own) >= _ENOUGH * len(pieces):
        said = f"those of {found.what} of these very items"
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

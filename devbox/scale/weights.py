"""What the pieces of a batch weigh: the seconds that each took before, where those are on record,
and else its bytes."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from devbox.errors import UsageError
from devbox.money.past_runs import PastRun
from devbox.scale import recorded
from devbox.state.store import Store
from devbox.text import clean

_RECORDS = 20  # runs and batches, the newest, that are read


class Size(NamedTuple):
    """A piece as it is here. bytes: of its files, at least one. changed: when the last of them
    was, by the clock of this computer."""

    bytes: int
    changed: float


def sizes(pieces: Mapping[str, Sequence[Path]]) -> dict[str, Size]:
    """Of pieces, by their files. UsageError where one cannot be read."""
    return {name: _size(files) for name, files in pieces.items()}


def weigh(bytes_of: Mapping[str, int], seconds: Mapping[str, float]) -> dict[str, float]:
    """Every piece's weight, above 0. A piece whose seconds are on record weighs those; the others
    weigh their bytes by the seconds a byte of those that are, so that all weights have one unit:
    seconds, or bytes where nothing is on record."""
    known = {name: seconds[name] for name in bytes_of if seconds.get(name, 0.0) > 0}
    each = 1.0
    if known:
        each = math.fsum(known.values()) / sum(max(1, bytes_of[name]) for name in known)
    return {name: known.get(name, max(1, size) * each) for name, size in bytes_of.items()}


def seconds(
    store: Store,
    runs: Sequence[PastRun],
    results: Path,
    found: Mapping[str, Size],
    *,
    which: str,
    source: Path,
) -> dict[str, float]:
    """Piece → the seconds that these very pieces took, by name and bytes, in the newest of `runs`
    that tell, all on the same hardware. results: the folder with what was fetched of runs. which,
    source: the input that the pieces are in, and where it is here."""
    known: dict[str, float] = {}
    at: tuple[str, str] | None = None
    for run, record in _records(store, runs, results):
        if at not in (None, (run.provider, run.hardware)):
            continue
        same = {
            name: took
            for name, took in record.seconds.items()
            if name in found
            and took > 0
            and _is_same(found[name], name, run, record, which, source)
        }
        if same:
            at = run.provider, run.hardware
            known = {**same, **known}
        if len(known) == len(found):
            break
    return known


def _is_same(
    size: Size, name: str, run: PastRun, record: recorded.Record, which: str, source: Path
) -> bool:
    """Whether a piece is the one that was worked on: a batch tells its bytes; for a run, its files
    are those of the same input and were not changed since."""
    if record.bytes is not None:
        return record.bytes.get(name) == size.bytes
    return run.sources.get(which) == str(source) and size.changed < run.created


def _records(
    store: Store, runs: Sequence[PastRun], results: Path
) -> Iterator[tuple[PastRun, recorded.Record]]:
    """What the newest of them tell, each batch once for its parts on the same hardware."""
    read: set[tuple[str, str, str]] = set()
    for run in runs:
        if len(read) == _RECORDS:
            return
        key = run.batch or run.id, run.provider, run.hardware
        if key in read:
            continue
        read.add(key)
        if run.batch:
            alike = [r for r in runs if (r.batch, r.provider, r.hardware) == key]
            record = recorded.of_batch(store, run.batch, alike)
        else:
            record = recorded.of_run(results, run)
        if record:
            yield run, record


def _size(files: Sequence[Path]) -> Size:
    total, changed = 0, 0.0
    for path in files:
        try:
            found = os.stat(path)
        except OSError as error:
            raise UsageError(
                f"{clean(str(path), 200)} cannot be read: {error.strerror}",
                means="nothing was started",
                fix="repair or remove it",
            ) from error
        total += found.st_size
        changed = max(changed, found.st_mtime, found.st_ctime)
    return Size(max(1, total), changed)

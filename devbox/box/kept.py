"""What a run's process keeps over its rounds: what became of items, values that were made once, and
the names that results are named over. A run without rounds has one for itself."""

from __future__ import annotations

import json
import threading
from functools import partial
from pathlib import Path
from typing import Callable, Dict, Iterable, List, Optional, Set, Tuple, TypeVar, cast

from devbox.box.items import Items

T = TypeVar("T")


class Kept:
    """folder: the run's. names: a file with the name of every piece of the batch (see
    devbox.wire.jobs.Spread), where the run has rounds."""

    def __init__(self, folder: Path, attempt: int, names: Optional[Path] = None) -> None:
        self.items = Items(folder / "items.jsonl", attempt)
        self.reports = folder / "reported.jsonl"
        self.cancelled = threading.Event()
        #: items of the run in other rounds
        self.others = 0
        self._file = names
        self._names: Optional[Tuple[List[str], Set[str]]] = None
        self._values: Dict[str, object] = {}
        self._ends: List[Callable[[], object]] = []

    def resident(
        self, key: str, make: Callable[[], T], close: Optional[Callable[[T], object]]
    ) -> T:
        """See `Job.resident`."""
        if key not in self._values:
            made = make()
            self._values[key] = made
            if close is not None:
                self._ends.append(partial(close, made))
        return cast(T, self._values[key])

    def every(self, names: Iterable[str]) -> List[str]:
        """See `Job.every`. Items that are only a part of a piece come after all pieces."""
        if self._file is None:
            return list(names)
        if self._names is None:
            lines = self._file.read_text(encoding="utf-8").splitlines()
            found = [str(json.loads(line)) for line in lines if line]
            self._names = found, set(found)
        batch, known = self._names
        return [*batch, *(name for name in names if name not in known)]

    def close(self) -> None:
        """Close what was made, the latest first."""
        self._values.clear()
        while self._ends:
            self._ends.pop()()

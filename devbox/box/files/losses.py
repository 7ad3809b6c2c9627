"""What a pause that does not keep this box's disk loses: unsynced files of the workdir, and what
runs made. What lies on a volume is not lost."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Iterator, NamedTuple, Sequence

from devbox.box.files import unsynced

_ROUNDS = "runs/*/rounds/*/out"
SAVED = "devbox-saved"  # the folder of a volume that holds what was saved before a pause


class Lost(NamedTuple):
    """One file. name: "work/…" or "runs/<id>/…"."""

    bytes: int
    path: Path
    name: Path


class Losses:
    """The files, and how many of them were counted so far. results: those that runs made.
    complete: all were seen."""

    def __init__(self, root: Path, workdir: Path, volumes: Sequence[str]) -> None:
        self._root, self._workdir, self._volumes = root, workdir, volumes
        self._begin()

    def _begin(self) -> None:
        self.files = self.results = self.bytes = 0
        self.complete = False

    def look(self, seconds: float) -> Iterator[Lost]:
        """Every file, counted from 0. It ends early when the time is over."""
        self._begin()
        try:
            for lost in self._all(time.monotonic() + seconds):
                self.files += 1
                self.results += lost.name.parts[0] == "runs"
                self.bytes += lost.bytes
                yield lost
        except TimeoutError:
            return
        self.complete = True

    @property
    def none(self) -> bool:
        return self.complete and not self.files

    def sentence(self) -> str:
        """'3 unsynced files (1.2 MB)'."""
        return unsynced.sentence(self.files, self.bytes, self.complete)

    def where(self, workdir: str) -> str:
        """'work and the results of runs'. workdir: how it is called."""
        if not self.results:
            return workdir
        runs = "the results of runs"
        return runs if self.results == self.files else f"{workdir} and {runs}"

    def _all(self, until: float) -> Iterator[Lost]:
        if not is_on(self._workdir, self._volumes):
            for name, about in unsynced.changed(self._root, self._workdir, (SAVED,), until):
                yield Lost(about.st_size, self._workdir / name, Path("work", name))
        if not is_on(self._root, self._volumes):
            for out in sorted([*self._root.glob("runs/*/out"), *self._root.glob(_ROUNDS)]):
                for name, about in unsynced.files(out, (), until):
                    where = out.parent.relative_to(self._root)
                    yield Lost(about.st_size, out / name, where / name)


def is_on(path: Path, volumes: Sequence[str]) -> bool:
    """Whether path is, or lies in, one of the mounts."""
    real = Path(os.path.realpath(path))
    mounts = [Path(os.path.realpath(Path.home() / volume)) for volume in volumes]
    return any(mount == real or mount in real.parents for mount in mounts)

"""The results of rounds as those of one run: each file comes into the batch's folder in one step.

Two rounds may write the same name with different content, such as a summary of all that they did:
the one that comes first keeps it, and the later is put beside it under its round's name.
"""

from __future__ import annotations

import filecmp
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple


class Beside(NamedTuple):
    """A file that another round had written differently. name, kept: relative to the results."""

    name: str
    kept: str


def flush(staged: Path) -> None:
    """Have its files on the disk: once they are merged and on record, their box deletes its own."""
    for folder, _, files in os.walk(staged):
        for file in files:
            _flush(Path(folder) / file)


def merge(staged: Path, results: Path, mark: str) -> list[Beside]:
    """Move every file of `staged` into `results`, and remove `staged`; those that another round had
    written differently, which are kept with `mark` in their name. Done again after it was cut off,
    on the same files, it comes to the same. One merge at a time in a folder. The moves are on the
    disk when it returns."""
    beside = []
    changed: set[Path] = set()
    for folder, _, files in os.walk(staged):
        for file in sorted(files):
            source = Path(folder) / file
            name = source.relative_to(staged)
            place = name
            if _is_taken(results, name, source):
                place = _marked(results, name, mark)
                beside.append(Beside(name.as_posix(), place.as_posix()))
            target = results / place
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(source, target)
            changed.update(results / above for above in place.parents)
    for each in changed:
        _flush(each)
    shutil.rmtree(staged, ignore_errors=True)
    return beside


def _flush(path: Path) -> None:
    """What cannot be opened, or synced there, is left to the system."""
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _is_taken(results: Path, name: Path, source: Path) -> bool:
    """Whether something else has that name, or is where one of its folders would be."""
    for folder in list(name.parents)[:-1]:
        there = results / folder
        if there.is_symlink() or (there.exists() and not there.is_dir()):
            return True
    target = results / name
    if not os.path.lexists(target):
        return False
    if target.is_symlink() or source.is_symlink():
        both = target.is_symlink() and source.is_symlink()
        return not both or os.readlink(target) != os.readlink(source)
    return not target.is_file() or not filecmp.cmp(source, target, shallow=False)


def _marked(results: Path, name: Path, mark: str) -> Path:
    """Where that file is kept instead: beside its name, or where that cannot be, in a folder."""
    above = [results / folder for folder in list(name.parents)[:-1]]
    if any(folder.is_symlink() or not folder.is_dir() for folder in above):
        return Path(mark) / name
    place = name.with_name(f"{name.stem}.{mark}{name.suffix}")
    return Path(mark) / name if (results / place).is_dir() else place

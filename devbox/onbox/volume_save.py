"""Before a pause that does not keep this box's disk: what is unsynced, copied into a volume.

In <volume>/devbox-saved/<box>: latest.json ({"t", "folder", "files", "bytes", "left", "told"}) and
a folder for each save, named by its UTC time, with "work" (files of the workdir) and "runs" (one
folder for each run, with what it made).

Small files go first, so that a full volume or a lack of time costs the large ones.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path
from typing import List, NamedTuple, Optional, Sequence, Tuple

from devbox.onbox import journal, notes, unsynced
from devbox.onbox.units import size

FOLDER = "devbox-saved"
SECONDS = 300.0  # the copying stops then
MOST = 100_000  # files


class Saved(NamedTuple):
    """folder: where the copies are. files, bytes: how many and how large. left: files that were
    not copied."""

    folder: str
    files: int
    bytes: int
    left: int

    def sentence(self) -> str:
        """'3 files (1.2 MB) copied to /data/…, 1 NOT copied'."""
        noun = "file" if self.files == 1 else "files"
        left = f", {self.left} NOT copied" if self.left else ""
        return f"{self.files} {noun} ({size(self.bytes)}) copied to {self.folder}{left}"


def save(
    root: Path, workdir: Path, volumes: Sequence[str], box: str, *, seconds: float = SECONDS
) -> Optional[Saved]:
    """Copy into the first volume that can be written to; None when there is none."""
    until = time.monotonic() + seconds
    wanted = _wanted(root, workdir)
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    for volume in volumes:
        folder = Path(volume) / FOLDER / (box or "box")
        try:
            (folder / stamp).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            print(f"{volume}: {error}", file=sys.stderr, flush=True)
            continue
        files = total = 0
        for length, source, name in wanted:
            if time.monotonic() > until:
                break
            if _copied(source, folder / stamp / name):
                files, total = files + 1, total + length
        found = Saved(str(folder / stamp), files, total, len(wanted) - files)
        _note(folder, {"t": time.time(), **found._asdict(), "told": False})
        return found
    return None


def tell(root: Path, volumes: Sequence[str], box: str) -> None:
    """After a start: an event about what was copied before the last pause, once."""
    for volume in volumes:
        folder = Path(volume) / FOLDER / (box or "box")
        found = notes.read(folder / "latest.json")
        if not found or found.get("told") or not isinstance(found.get("folder"), str):
            continue
        counts = [notes.number(found.get(key)) or 0 for key in ("files", "bytes", "left")]
        saved = Saved(found["folder"], *(int(count) for count in counts))
        journal.append(root, "restored", f"saved before a pause: {saved.sentence()}")
        _note(folder, {**found, "told": True})


def _wanted(root: Path, workdir: Path) -> List[Tuple[int, Path, Path]]:
    """(size, file, its name in the copy), the smallest first."""
    found = [
        (about.st_size, workdir / name, Path("work", name))
        for name, about in unsynced.changed(root, workdir)
    ]
    runs = root / "runs"
    for out in sorted(runs.glob("*/out")):
        for name, about in unsynced.files(out, ()):
            found.append((about.st_size, out / name, Path("runs", out.parent.name, name)))
    return sorted(found)[:MOST]


def _copied(source: Path, target: Path) -> bool:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
    except (OSError, shutil.Error) as error:
        print(f"{source}: {error}", file=sys.stderr, flush=True)
        try:
            os.unlink(target)  # half of it
        except OSError:
            return False
        return False
    return True


def _note(folder: Path, value: dict[str, object]) -> None:
    try:
        notes.write(folder / "latest.json", value)
    except OSError as error:
        print(f"{folder}: {error}", file=sys.stderr, flush=True)

"""Before a pause that does not keep this box's disk: what it loses, copied into volumes.

In <volume>/devbox-saved/<box>: latest.json ({"t", "folder", "files", "bytes", "left", "complete",
"told"}) and a folder for each save, named by its UTC time, with "work" (files of the workdir) and
"runs" (one folder for each run, with what it made).

Small files go first, so that a full volume or a lack of time costs the large ones. What one volume
does not take goes into the next.
"""

from __future__ import annotations

import errno
import heapq
import os
import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import List, NamedTuple, Sequence, Tuple

from devbox.box import event_log, json_file
from devbox.box.files.losses import SAVED, Losses, Lost
from devbox.box.format import size
from devbox.box.with_timeout import within

COPYING = 290.0  # seconds after which no further block is copied
GRACE = 10.0  # seconds that a call on a volume may take beyond that
SECONDS = COPYING + GRACE  # the most that a save takes
MOST = 100_000  # files
BLOCK = 1 << 20  # bytes
_LOOKING = 60.0  # seconds of looking which files there are
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class Copies(NamedTuple):
    """How many files went into `folder`, and their bytes."""

    folder: str
    files: int
    bytes: int


class Saved(NamedTuple):
    """found: what the pause would lose. left: counted files that were not copied. ok: everything
    was copied, or there is no volume to copy into."""

    found: Losses
    copies: Tuple[Copies, ...]
    left: int
    ok: bool

    @property
    def files(self) -> int:
        return sum(each.files for each in self.copies)

    def sentence(self) -> str:
        """'3 unsynced files (3.0 MB), 2 files (1.2 MB) copied to /data/…, 1 NOT copied'."""
        found = self.found.sentence()
        if self.found.none:
            return found
        if self.ok and self.left:
            return f"{found}, which this pause does not keep"
        return ", ".join([found, *_told(self.copies, self.left, complete=self.found.complete)])


def save(found: Losses, volumes: Sequence[str], box: str, *, seconds: float) -> Saved:
    """Copy into the volumes, for at most `seconds`. One that hangs is left to itself GRACE seconds
    later, and what was copied until then is counted."""
    if not volumes:
        within(_LOOKING, lambda: sum(1 for _ in found.look(_LOOKING)))
        return Saved(found, (), found.files, True)
    saving = _Saving(found, volumes, box, time.monotonic() + seconds)
    within(seconds + GRACE, saving.run)
    return saving.so_far()


def tell(root: Path, volumes: Sequence[str], box: str) -> None:
    """After a start: an event about what was copied before the last pause, once."""
    for volume in volumes:
        folder = _folder(volume, box)
        found = json_file.read(folder / "latest.json")
        copied = found and found.get("folder")
        if not found or found.get("told") or not isinstance(copied, str):
            continue
        files, total, left = (
            int(json_file.number(found.get(key)) or 0) for key in ("files", "bytes", "left")
        )
        complete = found.get("complete") is not False
        told = _told((Copies(copied, files, total),), left, complete=complete)
        event_log.append(root, "restored", f"saved before a pause: {', '.join(told)}")
        _note(folder, {**found, "told": True})


class _Saving:
    """One save under way; `so_far` may be asked while `run` hangs."""

    def __init__(self, found: Losses, volumes: Sequence[str], box: str, until: float) -> None:
        self._found, self._volumes, self._box, self._until = found, volumes, box, until
        self._stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        self._done: List[Tuple[Path, Copies]] = []

    def run(self) -> None:
        todo = heapq.nsmallest(MOST, self._found.look(_LOOKING))
        for volume in self._volumes:
            if not todo or time.monotonic() > self._until:
                return
            folder = _folder(volume, self._box)
            try:
                (folder / self._stamp).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                print(f"{volume}: {error}", file=sys.stderr, flush=True)
                continue
            todo = self._into(folder, todo)
            self._keep_notes()

    def so_far(self) -> Saved:
        copies = tuple(each for _, each in self._done if each.files)
        left = self._found.files - sum(each.files for each in copies)
        return Saved(self._found, copies, left, self._found.complete and not left)

    def _into(self, folder: Path, todo: List[Lost]) -> List[Lost]:
        """Copy what can be copied; the files that are left."""
        target = folder / self._stamp
        self._done.append((folder, Copies(str(target), 0, 0)))
        left: List[Lost] = []
        for index, lost in enumerate(todo):
            if time.monotonic() > self._until:
                return left + todo[index:]
            try:
                _copy(lost.path, target / lost.name, self._until)
            except OSError as error:
                print(f"{lost.path}: {error}", file=sys.stderr, flush=True)
                if error.errno in _FULL:
                    return left + todo[index:]
                left.append(lost)
                continue
            _, (name, files, total) = self._done[-1]
            self._done[-1] = (folder, Copies(name, files + 1, total + lost.bytes))
        return left

    def _keep_notes(self) -> None:
        """One in each volume that took files. The last tells what no volume took."""
        done = [(folder, each) for folder, each in self._done if each.files]
        for folder, each in done:
            last = folder == done[-1][0]
            left = self.so_far().left if last else 0
            complete = self._found.complete or not last
            note = {**each._asdict(), "left": left, "complete": complete, "told": False}
            _note(folder, {"t": time.time(), **note})


def _folder(volume: str, box: str) -> Path:
    return Path.home() / volume / SAVED / (box or "box")


def _told(copies: Sequence[Copies], left: int, *, complete: bool) -> List[str]:
    places = [
        f"{files} {'file' if files == 1 else 'files'} ({size(total)}) copied to {folder}"
        for folder, files, total in copies
    ]
    told = [" and ".join(places)] if places else []
    told += [f"{left} NOT copied"] if left else []
    return told if complete else [*told, "others were NOT looked at"]


def _copy(source: Path, target: Path, until: float) -> None:
    """OSError when it fails or the time is over; no half file stays."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(source, "rb") as reading, open(target, "wb") as writing:
            while block := reading.read(BLOCK):
                writing.write(block)
                if time.monotonic() > until:
                    raise TimeoutError("the time for copying is over")
    except OSError:
        with suppress(OSError):
            os.unlink(target)
        raise
    with suppress(OSError):  # object stores keep no times and modes
        shutil.copystat(source, target)


def _note(folder: Path, value: dict[str, object]) -> None:
    try:
        json_file.write(folder / "latest.json", value)
    except OSError as error:
        print(f"{folder}: {error}", file=sys.stderr, flush=True)

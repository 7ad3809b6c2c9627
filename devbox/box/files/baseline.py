"""synced.json: what the last sync left nothing to fetch of. `files stamp` writes it when a sync has
succeeded; without it every file of the workdir counts as unsynced."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Iterator, Optional

from devbox.box import json_file, paths
from devbox.box.files.walk import walk, without
from devbox.wire.codec import encode, plain
from devbox.wire.files import Baseline, BaselineTime, SetBaseline

_STALE = 86400.0


def path(root: Path) -> Path:
    return root / "synced.json"


def load(root: Path) -> Optional[Baseline]:
    """None when there is none that can be read."""
    return json_file.load(path(root), Baseline)


def stamp(request: SetBaseline) -> Iterator[bytes]:
    """Keep the baseline of a sync. On a first one without a time it is now when `root` holds
    nothing but what was pushed, else 0, so that what was made here before still counts as unsynced.
    Files that wait in `arriving` since a day are removed."""
    _clear(request.arriving)
    old = load(paths.root())
    new = Baseline(old.t, {**old.pushed, **request.pushed}, request.exclude) if old else None
    if request.t is not None:
        new = Baseline(request.t, request.pushed, request.exclude)
    elif new is None:
        more = _holds_more(request)
        new = Baseline(
            0.0 if more else time.time(), request.pushed if more else {}, request.exclude
        )
    if len(json.dumps(plain(new))) > json_file.MAX_BYTES:
        new = new._replace(pushed={})  # then those files count as unsynced: too many, never too few
    json_file.write(path(paths.root()), new)
    yield encode(BaselineTime(new.t))


def _holds_more(request: SetBaseline) -> bool:
    """Whether a file lies in the synced folder that did not come from there as it is now."""
    for name, entry in walk(os.fsencode(request.root), without(request.exclude)):
        if entry.is_file(follow_symlinks=False):
            known = request.pushed.get(name.decode("latin-1"), -1)
            if entry.stat(follow_symlinks=False).st_mtime_ns // 10**9 != known // 10**9:
                return True
    return False


def _clear(folder: str) -> None:
    for name, entry in walk(os.fsencode(folder), lambda _, is_folder: not is_folder):
        try:
            if time.time() - entry.stat(follow_symlinks=False).st_mtime > _STALE:
                os.unlink(entry.path)
        except OSError as error:
            print(f"{os.fsdecode(name)}: {error.strerror}", file=sys.stderr)

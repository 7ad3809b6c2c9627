"""Paths that are a folder on one side and a file or link on the other, for `sync up`.

rsync replaces a file or link on the box by a folder or link of this computer whatever their times,
so these are looked at before. A folder that is not empty it does not replace: it says so, and the
paths are found afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from devbox.errors import SshError
from devbox.ignore import tree
from devbox.ignore.rules import Rules
from devbox.model import Box
from devbox.sync import compare
from devbox.sync.baseline import Stamp
from devbox.sync.target import Place

if TYPE_CHECKING:
    from devbox.sync.remote import Asking

_AGAIN = 0.5  # seconds


def replaced(
    box: Box,
    where: Place,
    stamp: Stamp,
    paths: Iterable[bytes],
    links: set[bytes],
    asking: Asking | None = None,
    *,
    narrate: Callable[[str], None],
    sleep: Callable[[float], None],
) -> set[bytes]:
    """Those of `paths`, each a folder or one of `links` here, where the box has something else
    that was changed there: rsync would replace it. asking: one for 'look', started early. A box
    that does not answer is asked once more, as rsync does; then SshError."""
    from devbox.sync import remote

    try:
        there = remote.look(box, where.folder, paths, asking)
    except SshError as error:
        narrate(f"connection to {box.name} lost; trying again in {_AGAIN:g} s ({error.what})")
        sleep(_AGAIN)
        try:
            there = remote.look(box, where.folder, paths)
        except SshError as still:
            raise SshError(
                f"box {box.name} cannot be reached: {still.what}",
                means="nothing was changed there",
                fix=f"devbox status {box.name}; then run the sync again",
            ) from still
    return {
        path
        for path, entry in there.items()
        if not (path in links and entry.kind == "l") and stamp.changed_there(path, entry)
    }


def stuck(
    box: Box, where: Place, rules: Rules, chosen: Iterable[bytes]
) -> dict[bytes, list[bytes]]:
    """Files and links here, of those that are or lie in `chosen` (none chosen: all), that are
    folders on the box → every file in these, also those that no rule keeps."""
    from devbox.sync import remote

    there = remote.list_files(box, where.folder, Rules(())).files
    parents = {folder for path in there for folder in compare.above(path)}
    here = tree.stat_paths(where.root, parents)
    return {
        path: [name for name in there if name.startswith(path + b"/")]
        for path in compare.within(here, chosen)
        if path in parents and here[path].kind != "d" and rules.keeps(path, folder=False)
    }

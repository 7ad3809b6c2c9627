"""Walking a folder of the box. Names are bytes, relative to it."""

from __future__ import annotations

import fnmatch
import math
import os
import re
import time
from typing import Callable, Iterable, Iterator, Sequence, Tuple

from devbox.wire.files import Rules

Found = Tuple[bytes, "os.DirEntry[bytes]"]
#: Whether the walk takes what has that name; the flag says that it is a folder.
Keeps = Callable[[bytes, bool], bool]


def walk(
    top: bytes,
    keeps: Keeps,
    *,
    one_disk: bool = False,
    in_order: bool = False,
    until: float = math.inf,
) -> Iterator[Found]:
    """Everything under `top` that is no folder; symlinks are not followed, and what cannot be read
    is passed over. one_disk: other file systems are not entered. in_order: by name within each
    folder. TimeoutError when time.monotonic() passes `until`."""
    try:
        disk = os.stat(top).st_dev if one_disk else None
    except OSError:
        return
    waiting = [(top, b"")]
    while waiting:
        path, under = waiting.pop()
        try:
            with os.scandir(path) as found:
                entries = sorted(found, key=lambda each: each.name) if in_order else list(found)
        except OSError:
            continue  # gone meanwhile, or not ours to read
        for entry in entries:
            if time.monotonic() > until:
                raise TimeoutError(f"{os.fsdecode(top)} was not looked through in time")
            name = under + b"/" + entry.name if under else entry.name
            try:
                is_folder = entry.is_dir(follow_symlinks=False)
                if not keeps(name, is_folder):
                    continue
                if is_folder:
                    if disk is None or entry.stat(follow_symlinks=False).st_dev == disk:
                        waiting.append((entry.path, name))
                    continue
            except OSError:
                continue  # gone meanwhile
            yield name, entry


def by_rules(folders: Rules, files: Rules) -> Keeps:
    """The first rule that matches a whole name decides; what none matches is kept."""
    choices = [_compiled(files), _compiled(folders)]

    def keeps(name: bytes, is_folder: bool) -> bool:
        match, kept = choices[is_folder]
        found = match(name)
        return not found or not found.lastindex or kept[found.lastindex - 1]

    return keeps


def without(patterns: Iterable[str]) -> Keeps:
    """All but what is named as one of the shell patterns, and what lies in it."""
    left_out = re.compile("|".join(map(fnmatch.translate, patterns)) or "(?!)").match
    return lambda name, _: not left_out(os.fsdecode(name.rpartition(b"/")[2]))


def inner_names(texts: Sequence[str]) -> Iterator[bytes]:
    """Those of the names that stay within their folder, as bytes."""
    for text in texts:
        name = text.encode("latin-1")
        if name and not name.startswith(b"/") and b".." not in name.split(b"/"):
            yield name


def _compiled(rules: Rules) -> Tuple[Callable[[bytes], "re.Match[bytes] | None"], Sequence[bool]]:
    whole = "|".join(f"({regex}\\Z)" for regex, _ in rules) or "(?!)"
    return re.compile(whole.encode("latin-1"), re.DOTALL).match, [keep for _, keep in rules]

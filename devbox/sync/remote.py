"""Asking the box about its files, over ssh. All of what it answers is bounded and checked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from devbox.errors import SyncError
from devbox.model import Box
from devbox.remote.exec import Program
from devbox.sync.defaults import ARRIVING
from devbox.sync.rules import Rules
from devbox.sync.tree import Entry
from devbox.text import clean

#: A tree with more files than this is not compared, and a longer answer is not read.
MAX_FILES = 2_000_000
_MAX_ANSWER = 512 << 20
#: Bounds of the look outside the synced folder: files, seconds on the box, files named.
OUTSIDE_MOST, OUTSIDE_SECONDS, OUTSIDE_NAMED = 20_000, 5.0, 200
_MAX_SIZE = 1 << 62
_SECONDS = 600.0


class Outside(NamedTuple):
    """What lies in the login folder but not in the synced one. largest: path relative to the login
    folder → entry, not more than the box was asked to name. complete: the walk saw it all."""

    files: int = 0
    total: int = 0
    largest: dict[bytes, Entry] = {}  # noqa: RUF012 - never written to
    complete: bool = True


class Listing(NamedTuple):
    """now: the box's clock when it looked, unix ns. missing: it has no such folder."""

    now: int
    files: dict[bytes, Entry]
    missing: bool = False


def list_files(box: Box, folder: str, rules: Rules) -> Listing:
    """Every file and symlink under `folder` on the box that `rules` keep. SshError when the box
    cannot be reached, SyncError when it has too many files or answers nonsense."""
    return parse(_ask(box, "list", _listing_request(folder, rules)), box.name)


def look(
    box: Box, folder: str, paths: Iterable[bytes], asking: Asking | None = None
) -> dict[bytes, Entry]:
    """Those of `paths` that are files or symlinks on the box. asking: one for 'look' that was
    started early. Raises as `list_files`."""
    wanted = set(paths)
    request = {"root": folder, "names": sorted(path.decode("latin-1") for path in wanted)}
    found = parse((asking or Asking(box, "look")).answer(request), box.name).files
    return {path: found[path] for path in found.keys() & wanted}


def survey(box: Box, folder: str, rules: Rules) -> tuple[Listing, Outside]:
    """`list_files`, and what `rules` keep elsewhere in the login folder and the workdir (without
    hidden entries at their top and without other file systems), in one trip. Raises as
    `list_files`."""
    request = {
        **_listing_request(folder, rules),
        "tops": [".", *([box.workdir] if box.workdir.startswith("/") else [])],
        "most": OUTSIDE_MOST,
        "seconds": OUTSIDE_SECONDS,
        "named": OUTSIDE_NAMED,
    }
    records = list(_ask(box, "survey", request))
    outside = _outside(records, f"devbox doctor {box.name}")
    return parse(iter(records), box.name), outside


def digests(box: Box, folder: str, paths: Iterable[bytes]) -> dict[bytes, str]:
    """Content hashes (blake2b, 16 bytes, hex) of files on the box; unreadable ones are left out."""
    request = {"root": folder, "names": [path.decode("latin-1") for path in paths]}
    rows = (record.partition(b" ") for record in _ask(box, "digest", request))
    return {path: clean(found.decode(errors="replace"), 40) for found, _, path in rows}


def delete(
    box: Box, folder: str, paths: Iterable[bytes], folders: Iterable[bytes] = ()
) -> set[bytes]:
    """Delete exactly these files on the box, then those of their folders, and of all in `folders`,
    that are empty. The files that are gone now."""
    names = list(paths)
    if not names:
        return set()
    request = {
        "root": folder,
        "names": [path.decode("latin-1") for path in names],
        "folders": [path.decode("latin-1") for path in folders],
    }
    return set(_ask(box, "delete", request)) & set(names)


def stamp(
    box: Box,
    folder: str,
    since: float | None,
    pushed: Sequence[tuple[bytes, int]],
    exclude: Sequence[str],
    asking: Asking | None = None,
) -> int:
    """Tell the box what the laptop knows of: everything there up to `since` (unix seconds of the
    box's clock; None leaves it, or on the first sync says 'now' if nothing else lies there), and
    the `pushed` (path, mtime ns). asking: one for 'stamp' that was started early. The time in
    force, ns of the box's clock."""
    names = [(path.decode("latin-1"), mtime) for path, mtime in pushed]
    request = {
        "t": since,
        "pushed": names,
        "exclude": list(exclude),
        "root": folder,
        "arriving": f"{folder}/{ARRIVING}",
    }
    said = next((asking or Asking(box, "stamp")).answer(request), b"")
    if not re.fullmatch(rb"[0-9]{1,12}\.[0-9]{6}", said):
        raise SyncError(
            f"box {box.name} did not say what time it is", fix=f"devbox doctor {box.name}"
        )
    return int(float(said) * 1e9)


def parse(records: Iterator[bytes], name: str = "") -> Listing:
    """The records of `boxside.list_files`. Names that would leave the folder are an error. name:
    the box's, for its text."""
    fix = f"devbox doctor {name}".strip()
    first = next(records, b"")
    if not first.startswith(b"now ") or not first[4:24].isdigit():
        raise SyncError("the box did not answer with a list of files", fix=fix)
    files: dict[bytes, Entry] = {}
    for record in records:
        if record == b"missing":
            return Listing(int(first[4:24]), {}, True)
        if record == b"more" or len(files) >= MAX_FILES:
            raise SyncError(
                f"the box has more than {MAX_FILES:,} files in its workdir",
                fix="leave folders out with sync.exclude in devbox.toml",
            )
        path, entry = _entry(record, fix)
        if entry.kind == "l":
            entry = entry._replace(target=next(records, b""))
        files[path] = entry
    return Listing(int(first[4:24]), files)


def _listing_request(folder: str, rules: Rules) -> dict[str, Any]:
    folders, files = rules.regexes()
    return {
        "root": folder,
        "folders": [[regex.decode("latin-1"), keep] for regex, keep in folders],
        "files": [[regex.decode("latin-1"), keep] for regex, keep in files],
        "limit": MAX_FILES,
    }


def _outside(records: list[bytes], fix: str) -> Outside:
    """Takes the records of what lies outside off the end of the list."""
    last = records.pop() if records else b""
    found = re.fullmatch(rb"outside (\d{1,9}) (\d{1,19}) ([01])", last)
    if not found:
        raise SyncError("the box did not say what lies outside the work folder", fix=fix)
    named: dict[bytes, Entry] = {}
    while records and records[-1].startswith(b"o ") and len(named) < OUTSIDE_NAMED:
        path, entry = _entry(b"f" + records.pop()[1:], fix)
        named[path] = entry
    return Outside(int(found[1]), min(int(found[2]), _MAX_SIZE), named, found[3] == b"1")


def _entry(record: bytes, fix: str) -> tuple[bytes, Entry]:
    kind, size, mtime, path = [*record.split(b" ", 3), b"", b"", b""][:4]
    usable = (
        kind in (b"f", b"l")
        and size.isdigit()
        and mtime.removeprefix(b"-").isdigit()
        and len(size) < 20
        and len(mtime) < 21
        and 0 < len(path) < 4096
        and not {b"", b".", b".."} & set(path.split(b"/"))
    )
    if not usable:
        raise SyncError(
            f"the box sent a file name that cannot be: {clean(repr(path[:80]), 90)}",
            means="nothing was changed",
            fix=fix,
        )
    return path, Entry(kind.decode(), min(int(size), _MAX_SIZE), int(mtime))


@cache
def _source() -> str:
    return (Path(__file__).parent / "boxside.py").read_text(encoding="utf-8")


class Asking:
    """boxside.py started on the box, waiting for its one request. Started early, it costs no
    waiting later; `close` ends one that is not needed after all."""

    def __init__(self, box: Box, verb: str) -> None:
        self._box = box
        self._program = Program(box, ["python3", "-ISc", _source(), verb])
        self.close = self._program.close

    def answer(self, request: dict[str, Any]) -> Iterator[bytes]:
        """The records of the answer. SshError, SyncError."""
        with self._program as program:
            code, answer = program.finish(
                json.dumps(request).encode(), timeout=_SECONDS, most=_MAX_ANSWER
            )
        if code:
            name = self._box.name
            said = clean((program.err or answer.decode(errors="replace")).strip()[-400:], 400)
            what = f"box {name} has no python3" if code == 127 else f"box {name}: {said}"
            raise SyncError(what, fix=f"devbox doctor {name}")
        return iter(answer.split(b"\0")[:-1])


def _ask(box: Box, verb: str, request: dict[str, Any]) -> Iterator[bytes]:
    return Asking(box, verb).answer(request)

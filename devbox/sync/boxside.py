"""The part of sync that runs on the box: `python3 -c <this file> VERB`, a JSON request on stdin.

list     every file and symlink under a folder that the given rules keep, NUL-ended records
survey   the same, and what else lies in the login folder, within bounds
look     of the named paths, those that are files or symlinks
digest   the content hash of the named files
delete   exactly the named files, then those of their folders that are empty
stamp    writes synced.json (see devbox/box/files/unsynced.py)

Standard library only, Python 3.9; it is sent as text, so it imports nothing of ours. Names are
bytes, carried in JSON as latin-1.
"""

from __future__ import annotations

import fnmatch
import hashlib
import heapq
import json
import os
import re
import stat
import sys
import time
from collections.abc import Iterator
from typing import Any

STAMP_BYTES = 900_000
STALE = 86400.0


def main() -> int:
    verb, request = sys.argv[1], json.load(sys.stdin)
    out = sys.stdout.buffer
    verbs = {"list": list_files, "survey": survey, "look": look, "digest": digest}
    answer = {**verbs, "delete": delete, "stamp": stamp}[verb]
    for record in answer(request):
        out.write(record + b"\0")
    out.flush()
    return 0


def list_files(request: dict[str, Any]) -> Iterator[bytes]:
    """First 'now <unix ns>', then 'f|l size mtime_ns path' and, for a symlink, its target as a
    record of its own; 'missing' when there is no such folder; 'more' when it stopped early."""
    root = os.fsencode(request["root"])
    yield b"now %d" % time.time_ns()
    if not os.path.isdir(root):
        yield b"missing"
        return
    folders, files = _rules(request["folders"]), _rules(request["files"])
    left, waiting = int(request["limit"]), [(root, b"")]
    while waiting:
        path, under = waiting.pop()
        for name, entry in _entries(path, under):
            folder = entry.is_dir(follow_symlinks=False)
            if not _keeps(folders if folder else files, name):
                continue
            if folder:
                waiting.append((entry.path, name))
                continue
            records = _records(entry.path, name)
            left -= bool(records)
            if left < 0:
                yield b"more"
                return
            yield from records


def look(request: dict[str, Any]) -> Iterator[bytes]:
    """As `list`, of exactly the named paths."""
    root = os.fsencode(request["root"])
    yield b"now %d" % time.time_ns()
    for name in _names(request["names"]):
        yield from _records(os.path.join(root, name), name)


def _records(path: bytes, name: bytes) -> list[bytes]:
    """Empty for what is neither file nor symlink, or is gone."""
    try:
        about = os.lstat(path)
        target = [os.readlink(path)] if stat.S_ISLNK(about.st_mode) else []
    except OSError:
        return []
    if target:
        return [b"l 0 %d %s" % (about.st_mtime_ns, name), *target]
    if not stat.S_ISREG(about.st_mode):
        return []
    return [b"f %d %d %s" % (about.st_size, about.st_mtime_ns, name)]


def survey(request: dict[str, Any]) -> Iterator[bytes]:
    """The records of `list`, then those of files elsewhere under `tops`: 'o size mtime_ns path' of
    the `named` largest, and last 'outside <files> <bytes> <1 if all were seen>'. Left out there:
    hidden entries of a top itself, what the rules leave out, and other file systems. It stops
    after `most` files or `seconds`."""
    yield from list_files(request)
    rules = _rules(request["folders"]), _rules(request["files"])
    until = time.monotonic() + request["seconds"]
    count = total = 0
    found: list[tuple[int, int, bytes]] = []
    complete = True
    for name, about in _elsewhere([os.fsencode(top) for top in request["tops"]], request, rules):
        count, total = count + 1, total + about.st_size
        found.append((about.st_size, about.st_mtime_ns, name))
        if count >= request["most"] or time.monotonic() > until:
            complete = False
            break
    for size, mtime, name in heapq.nlargest(request["named"], found):
        yield b"o %d %d %s" % (size, mtime, name)
    yield b"outside %d %d %d" % (count, total, complete)


def _elsewhere(
    tops: list[bytes], request: dict[str, Any], rules: Any
) -> Iterator[tuple[bytes, Any]]:
    """(path, stat) of the regular files under `tops` but not under the root."""
    folders, files = rules
    seen = {os.path.realpath(os.fsencode(request["root"]))}
    for top in tops:
        real = os.path.realpath(top)
        try:
            disk = os.stat(top).st_dev
        except OSError:
            continue
        waiting = [] if real in seen else [(top, b"")]
        seen.add(real)
        while waiting:
            path, under = waiting.pop()
            for name, entry in _entries(path, under):
                folder = entry.is_dir(follow_symlinks=False)
                hidden = not under and entry.name.startswith(b".")
                if hidden or not _keeps(folders if folder else files, name):
                    continue
                try:
                    about = entry.stat(follow_symlinks=False)
                except OSError:
                    continue
                if folder and about.st_dev == disk and os.path.realpath(entry.path) not in seen:
                    waiting.append((entry.path, name))
                elif stat.S_ISREG(about.st_mode):
                    yield (name if top == b"." else os.path.join(top, name)), about


def digest(request: dict[str, Any]) -> Iterator[bytes]:
    """'<hex blake2b> path' for each named file that can be read; symlinks are not followed."""
    for name in _names(request["names"]):
        path = os.path.join(os.fsencode(request["root"]), name)
        found = hashlib.blake2b(digest_size=16)
        try:
            with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as stream:
                for block in iter(lambda: stream.read(1 << 20), b""):
                    found.update(block)
        except OSError:
            continue
        yield found.hexdigest().encode() + b" " + name


def delete(request: dict[str, Any]) -> Iterator[bytes]:
    """'path' of each file that is gone now. A name whose folder became a symlink is left.
    Empty folders in `folders`, and these themselves when empty, are removed too."""
    root = os.path.realpath(os.fsencode(request["root"]))
    parents: set[bytes] = set()
    for name in _names(request["names"]):
        path = os.path.join(root, name)
        if os.path.realpath(os.path.dirname(path)) != os.path.dirname(path):
            continue
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        except OSError as error:
            print(f"{os.fsdecode(name)}: {error.strerror}", file=sys.stderr)
            continue
        yield name
        parts = name.split(b"/")
        parents.update(b"/".join(parts[:n]) for n in range(1, len(parts)))
    for name in _names(request["folders"]):
        path = os.path.join(root, name)
        if os.path.realpath(path) == path:
            parents.update(os.path.relpath(at, root) for at, _, _ in os.walk(path))
    for name in sorted(parents, key=len, reverse=True):
        try:
            os.rmdir(os.path.join(root, name))
        except OSError:
            continue  # something else lives there


def stamp(request: dict[str, Any]) -> Iterator[bytes]:
    """t: unix seconds, or null where only files went up. pushed: [[path, mtime ns]], added to those
    that are already there unless t is given. Yields the t in force: on a first stamp without one it
    is now when `root` holds nothing but what was pushed, else 0, so that what was made here before
    still counts as unsynced. Also clears `arriving` (a folder) of what transfers that were killed
    left there a day ago."""
    _clear(request["arriving"])
    folder = os.environ.get("DEVBOX_BOX_ROOT") or os.path.join(
        os.path.expanduser("~"), ".devbox-box"
    )
    os.makedirs(folder, mode=0o700, exist_ok=True)
    path = os.path.join(folder, "synced.json")
    first = False
    try:
        with open(path) as stream:
            old = json.load(stream)
        since, pushed = float(old["t"]), dict(old.get("pushed") or {})
    except (OSError, ValueError, KeyError, TypeError):
        since, pushed, first = 0.0, {}, True
    if request["t"] is not None:
        since, pushed = request["t"], {}
    pushed.update((name, mtime) for name, mtime in request["pushed"])
    if first and request["t"] is None and not _holds_more(request, pushed):
        since, pushed = time.time(), {}
    value = {"v": 1, "t": since, "pushed": pushed, "exclude": request["exclude"]}
    if len(json.dumps(value)) > STAMP_BYTES:
        value["pushed"] = {}  # then those files count as unsynced: too many, never too few
    part = f"{path}.{os.getpid()}"
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
        json.dump(value, stream, separators=(",", ":"))
    os.replace(part, path)
    yield b"%f" % since


def _holds_more(request: dict[str, Any], pushed: dict[str, int]) -> bool:
    """Whether a file lies in the synced folder that did not come from there as it is now."""
    left_out = re.compile("|".join(map(fnmatch.translate, request["exclude"])) or "(?!)")
    waiting = [(os.fsencode(request["root"]), b"")]
    while waiting:
        path, under = waiting.pop()
        for name, entry in _entries(path, under):
            if left_out.match(os.fsdecode(entry.name)):
                continue
            if entry.is_dir(follow_symlinks=False):
                waiting.append((entry.path, name))
            elif entry.is_file(follow_symlinks=False):
                known = pushed.get(name.decode("latin-1"), -1)
                if entry.stat(follow_symlinks=False).st_mtime_ns // 10**9 != known // 10**9:
                    return True
    return False


def _clear(folder: str) -> None:
    for name, entry in _entries(os.fsencode(folder), b""):
        try:
            if time.time() - entry.stat(follow_symlinks=False).st_mtime > STALE:
                os.unlink(entry.path)
        except OSError as error:
            print(f"{os.fsdecode(name)}: {error.strerror}", file=sys.stderr)


def _entries(path: bytes, under: bytes) -> Iterator[tuple[bytes, Any]]:
    try:
        with os.scandir(path) as found:
            for entry in found:
                yield (under + b"/" + entry.name if under else entry.name), entry
    except OSError:
        return


def _rules(rules: list[list[Any]]) -> tuple[Any, list[bool]]:
    whole = "|".join(f"({regex}\\Z)" for regex, _ in rules) or "(?!)"
    return re.compile(whole.encode("latin-1"), re.DOTALL), [keep for _, keep in rules]


def _keeps(rules: tuple[Any, list[bool]], name: bytes) -> bool:
    found = rules[0].match(name)
    return not found or not found.lastindex or rules[1][found.lastindex - 1]


def _names(texts: list[str]) -> Iterator[bytes]:
    for text in texts:
        name = text.encode("latin-1")
        if name and not name.startswith(b"/") and b".." not in name.split(b"/"):
            yield name


if __name__ == "__main__":
    sys.exit(main())

"""Every checkpoint of a run in its place, whole and verified, before the run's work begins.

A process of its own, so that the client libraries it may install stay out of the job's. What is
fetched arrives beside its place under a name of its own and is renamed once it is whole: a file at
the place is a checkpoint, and a fetch that was cut off continues where it was. One run at a time
fetches to one place; another that wants it waits.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import socket
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Iterator, List, NamedTuple, Optional, TypedDict

from devbox.box import json_file, packages, paths, processes
from devbox.box.checkpoints import bucket, hub, source, web
from devbox.box.checkpoints.source import Source
from devbox.box.format import size as sized
from devbox.box.runs.folder import RunFolder
from devbox.box.runs.jsonl import append
from devbox.wire.codec import JsonObject, Unreadable
from devbox.wire.jobs import CheckpointFetch, JobRequest

_EVERY = 1.0  # seconds between two words on how far it is
_CHUNK = 1 << 20


class CheckpointError(Exception):
    """It cannot be had as it is wanted."""


class Report(TypedDict, total=False):
    """A report of a run (devbox.box.runs.progress), with the bytes that have arrived."""

    stage: str
    seconds: float
    message: str
    bytes: int


class Wanted(NamedTuple):
    """sha256: hexadecimal, "" when unknown. bytes: exactly, of a file, None when unknown. size:
    about how many, of a file or a folder. secret: a token, or a Google service account's JSON.
    page: where its terms are."""

    name: str
    path: Path
    source: Source
    sha256: str = ""
    bytes: Optional[int] = None
    size: Optional[int] = None
    secret: str = ""
    page: str = ""


def main(argv: List[str]) -> int:
    """argv: the run's id. Exit code 1: its reports say why it cannot begin."""
    processes.die_with_parent()
    folder = RunFolder(argv[0])
    try:
        for wanted in _wanted(folder.request(), _secrets(folder)):
            provide(wanted, lambda report: append(folder.reports, report))
    except (OSError, Unreadable, CheckpointError) as error:
        print(error, file=sys.stderr, flush=True)
        append(folder.reports, {"error": str(error)[:500]})
        return 1
    return 0


def provide(wanted: Wanted, report: Callable[[Report], None]) -> None:
    """One of them. CheckpointError says why not and what to do."""
    with _alone(wanted.path):
        if wanted.path.exists():
            _check(wanted)
            return
        begun = time.monotonic()
        report({"stage": f"checkpoint {wanted.name}"})
        part = part_of(wanted.path)
        part.mkdir(mode=0o700, parents=True, exist_ok=True)
        size = wanted.size if wanted.bytes is None else wanted.bytes
        _require_room(wanted, part, size)
        with _narrated(wanted, part, report, size) as whole:
            fetched = _fetch(wanted, part, lambda found: _begin(wanted, part, found, whole))
        _verify(wanted, fetched)
        os.replace(fetched, wanted.path)
        shutil.rmtree(part, ignore_errors=True)
        if not wanted.source.is_folder:
            stamp(wanted)
        seconds = time.monotonic() - begun
        report({"stage": f"checkpoint {wanted.name}", "seconds": seconds})
        report({"message": ""})
        print(f"checkpoint {wanted.name}: {wanted.path} is there after {seconds:.0f}s", flush=True)


def _wanted(request: JobRequest, secrets: JsonObject) -> Iterator[Wanted]:
    for name, path in request.checkpoints.items():
        target, given = Path.home() / path, request.fetch.get(name)
        if given is None:
            if not target.exists():
                raise CheckpointError(f"checkpoint {name} is not on the box: {path}")
            continue
        yield wanted_of(name, target, given, str(secrets.get(name) or ""))


def wanted_of(name: str, path: Path, given: CheckpointFetch, secret: str = "") -> Wanted:
    """What a request asks for. CheckpointError for a source that is none."""
    sha256 = given.sha256.lower()
    try:
        where = source.parse(given.source, sha256=sha256)
    except ValueError as error:
        raise CheckpointError(f"checkpoint {name}: {error}") from None
    return Wanted(name, path, where, sha256, given.bytes, given.size, secret, given.page)


def _begin(wanted: Wanted, part: Path, found: int, whole: List[int]) -> None:
    """The source has said how large it is."""
    if wanted.bytes is not None and not wanted.source.is_folder and found not in (0, wanted.bytes):
        raise CheckpointError(
            f"checkpoint {wanted.name}: its source has {found} bytes, not {wanted.bytes}; nothing "
            "was fetched: correct devbox.toml, or its source"
        )
    whole[:] = [found]
    _require_room(wanted, part, found)


def _fetch(wanted: Wanted, part: Path, room: Callable[[int], None]) -> Path:
    """By the source's own library where it is; a single file else in ranges over the web; what only
    the library can fetch (folders, a bucket that needs an account) installs it."""
    kind, where = wanted.source.kind, wanted.source
    package = {source.HUB: hub.PACKAGE, source.BUCKET: bucket.PACKAGE}.get(kind)
    try:
        if kind == source.FILE:
            return _sent(where, part)
        if package and not packages.has(package) and not (kind == source.BUCKET and wanted.secret):
            address = source.web_address(where, hub.endpoint())
            if address:
                return web.fetch(Source(source.WEB, address), part, wanted.secret, room)
        ways = {source.HUB: hub.fetch, source.BUCKET: bucket.fetch, source.WEB: web.fetch}
        return ways[kind](where, part, wanted.secret, room)
    except (OSError, packages.PackagesMissing) as error:
        refused = any(word in str(error) for word in (" 401", " 403", "gated"))
        hint = f" (its terms: {wanted.page})" if wanted.page and refused else ""
        raise CheckpointError(f"checkpoint {wanted.name}: {error}{hint}") from error


def _sent(where: Source, part: Path) -> Path:
    """What the user's computer has put on this box, as a link to it: it may be an input of several
    runs."""
    found, target = Path.home() / where.place, part / "file"
    if not found.exists():
        raise OSError("it is on your computer, and was not sent here: devbox checkpoints pull")
    if found.is_dir():
        shutil.copytree(found, target, copy_function=_linked, dirs_exist_ok=True)
    else:
        _linked(str(found), str(target))
    return target


def _linked(found: str, target: str) -> None:
    if os.path.exists(target):
        os.unlink(target)
    try:
        os.link(found, target)
    except OSError:
        shutil.copyfile(found, target)


def _secrets(folder: RunFolder) -> JsonObject:
    """They are read once and are gone from the disk."""
    file = folder.path / "secrets.json"
    found = json_file.read(file)
    file.unlink(missing_ok=True)
    return found or {}


def _check(wanted: Wanted) -> None:
    """What is at the place already must be what devbox.toml names. A file is hashed once, and
    again when its size or time has changed."""
    if wanted.source.is_folder != wanted.path.is_dir():
        kind = "folder" if wanted.source.is_folder else "file"
        raise CheckpointError(f"checkpoint {wanted.name}: {wanted.path} is no {kind}")
    if wanted.source.is_folder or is_verified(wanted):
        return
    _verify(wanted, wanted.path)
    stamp(wanted)


def is_verified(wanted: Wanted) -> bool:
    """Whether this very file was compared before, with what is asked for now."""
    return wanted.path.is_file() and json_file.read(_note(wanted.path)) == _identity(wanted)


def _verify(wanted: Wanted, file: Path) -> None:
    if file.is_dir():
        return
    have = file.stat().st_size
    if wanted.bytes is not None and have != wanted.bytes:
        raise CheckpointError(_wrong(wanted, file, f"{have} bytes, not {wanted.bytes}"))
    if wanted.sha256:
        digest = digest_of(file)
        if digest != wanted.sha256:
            raise CheckpointError(_wrong(wanted, file, f"sha256 {digest}, not {wanted.sha256}"))


def _wrong(wanted: Wanted, file: Path, what: str) -> str:
    if file != wanted.path:
        aside = wanted.path.with_name(f"{wanted.path.name}.wrong")
        os.replace(file, aside)
        return (
            f"checkpoint {wanted.name}: what was fetched has {what}; it is not used, and kept "
            f"aside as {aside}: look at it and remove it, or correct devbox.toml"
        )
    return (
        f"checkpoint {wanted.name}: {file} has {what}; "
        "remove it to have it fetched, or correct devbox.toml"
    )


def digest_of(file: Path) -> str:
    """Of its content, hexadecimal."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while True:
            data = stream.read(_CHUNK)
            if not data:
                return digest.hexdigest()
            digest.update(data)


def _require_room(wanted: Wanted, part: Path, size: Optional[int]) -> None:
    if size is None:
        return
    missing = size - bytes_in(part)
    free = shutil.disk_usage(part).free
    if missing > free:
        raise CheckpointError(
            f"checkpoint {wanted.name} needs {sized(missing)} at {wanted.path.parent}, "
            f"and {sized(free)} are free: put it on a volume, or choose a larger disk"
        )


@contextmanager
def _narrated(
    wanted: Wanted, part: Path, report: Callable[[Report], None], size: Optional[int]
) -> Iterator[List[int]]:
    """Say how far it is, from what has arrived on the disk, whichever library fetches it. Yields
    where to put the whole size once it is known."""
    ended, whole = threading.Event(), [size] if size else []

    def of() -> str:
        return f" of {sized(whole[0])}" if whole and whole[0] else ""

    def watch() -> None:
        while not ended.wait(_EVERY):
            arrived = bytes_in(part)
            report({"message": f"{wanted.name}: {sized(arrived)}{of()}", "bytes": arrived})

    print(f"checkpoint {wanted.name}: fetching to {wanted.path}{of()}", flush=True)
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield whole
    finally:
        ended.set()
        watcher.join()


def bytes_in(folder: Path) -> int:
    """Bytes of a file, or of all files in a folder, that are on the disk."""
    if folder.is_file():
        return folder.stat().st_size
    total = 0
    for top, _, names in os.walk(folder):
        for name in names:
            try:
                found = os.stat(os.path.join(top, name))
            except OSError:
                continue  # renamed meanwhile
            # Of a file that is filled in pieces only what is there; some systems do not tell.
            total += min(found.st_size, found.st_blocks * 512 or found.st_size)
    return total


def part_of(path: Path) -> Path:
    """Where it arrives: beside the place, so that a rename moves it there; another box on the same
    volume has one of its own."""
    who = f"{socket.gethostname()}:{paths.root()}"
    return path.parent / f".{path.name}.devbox-part-{_short(who)}"


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    with open(_note(path).with_suffix(".lock"), "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def stamp(wanted: Wanted) -> None:
    """Remember that this very file was compared."""
    json_file.write(_note(wanted.path), _identity(wanted))


def _identity(wanted: Wanted) -> JsonObject:
    """What was verified, and of which file."""
    seen = wanted.path.stat()
    return {"size": seen.st_size, "mtime": seen.st_mtime_ns, "sha256": wanted.sha256}


def _note(path: Path) -> Path:
    folder = paths.root() / "checkpoints"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / f"{_short(os.path.realpath(path))}.json"


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]

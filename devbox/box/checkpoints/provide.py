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
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional

from devbox.box import json_file, packages, paths, processes
from devbox.box.checkpoints import bucket, hub, source, web
from devbox.box.checkpoints.source import Source
from devbox.box.format import size as sized
from devbox.box.runs.folder import RunFolder
from devbox.box.runs.jsonl import append
from devbox.wire.codec import Unreadable
from devbox.wire.jobs import JobRequest

_EVERY = 1.0  # seconds between two words on how far it is
_CHUNK = 1 << 20


class CheckpointError(Exception):
    """It cannot be had as it is wanted."""


class Wanted(NamedTuple):
    """sha256: hexadecimal, "" when unknown. bytes: exactly, of a file, None when unknown. size:
    about how many, of a file or a folder. secret: a token, or a Google service account's JSON."""

    name: str
    path: Path
    source: Source
    sha256: str = ""
    bytes: Optional[int] = None
    size: Optional[int] = None
    secret: str = ""


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


def provide(wanted: Wanted, report: Callable[[Dict[str, Any]], None]) -> None:
    """One of them. CheckpointError says why not and what to do."""
    with _alone(wanted.path):
        if wanted.path.exists():
            _check(wanted)
            return
        begun = time.monotonic()
        report({"stage": f"checkpoint {wanted.name}"})
        part = _part(wanted.path)
        part.mkdir(mode=0o700, parents=True, exist_ok=True)
        _require_room(wanted, part)
        with _narrated(wanted, part, report):
            fetched = _fetch(wanted, part)
        _verify(wanted, fetched)
        os.replace(fetched, wanted.path)
        shutil.rmtree(part, ignore_errors=True)
        if not wanted.source.is_folder:
            _stamp(wanted)
        seconds = time.monotonic() - begun
        report({"stage": f"checkpoint {wanted.name}", "seconds": seconds})
        report({"message": ""})
        print(f"checkpoint {wanted.name}: {wanted.path} is there after {seconds:.0f}s", flush=True)


def _wanted(request: JobRequest, secrets: Dict[str, Any]) -> Iterator[Wanted]:
    for name, path in request.checkpoints.items():
        target, given = Path.home() / path, request.fetch.get(name)
        if given is None:
            if not target.exists():
                raise CheckpointError(f"checkpoint {name} is not on the box: {path}")
            continue
        sha256 = given.sha256.lower()
        try:
            where = source.parse(given.source, sha256=sha256)
        except ValueError as error:
            raise CheckpointError(f"checkpoint {name}: {error}") from None
        secret = str(secrets.get(name) or "")
        yield Wanted(name, target, where, sha256, given.bytes, given.size, secret)


def _fetch(wanted: Wanted, part: Path) -> Path:
    ways = {source.HUB: hub.fetch, source.BUCKET: bucket.fetch, source.WEB: web.fetch}
    try:
        return ways[wanted.source.kind](wanted.source, part, wanted.secret)
    except (OSError, packages.PackagesMissing) as error:
        raise CheckpointError(f"checkpoint {wanted.name}: {error}") from error


def _secrets(folder: RunFolder) -> Dict[str, Any]:
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
    if wanted.source.is_folder or json_file.read(_note(wanted.path)) == _identity(wanted):
        return
    _verify(wanted, wanted.path)
    _stamp(wanted)


def _verify(wanted: Wanted, file: Path) -> None:
    if file.is_dir():
        return
    have = file.stat().st_size
    if wanted.bytes is not None and have != wanted.bytes:
        raise CheckpointError(_wrong(wanted, file, f"{have} bytes, not {wanted.bytes}"))
    if wanted.sha256:
        digest = _sha256(file)
        if digest != wanted.sha256:
            raise CheckpointError(_wrong(wanted, file, f"sha256 {digest}, not {wanted.sha256}"))


def _wrong(wanted: Wanted, file: Path, what: str) -> str:
    if file != wanted.path:
        file.unlink()
        return f"checkpoint {wanted.name}: what was fetched has {what}; nothing was kept"
    return (
        f"checkpoint {wanted.name}: {file} has {what}; "
        "remove it to have it fetched, or correct devbox.toml"
    )


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while True:
            data = stream.read(_CHUNK)
            if not data:
                return digest.hexdigest()
            digest.update(data)


def _require_room(wanted: Wanted, part: Path) -> None:
    size = wanted.size if wanted.bytes is None else wanted.bytes
    if size is None:
        return
    missing = size - _bytes_in(part)
    free = shutil.disk_usage(part).free
    if missing > free:
        raise CheckpointError(
            f"checkpoint {wanted.name} needs {sized(missing)} at {wanted.path.parent}, "
            f"and {sized(free)} are free: put it on a volume, or choose a larger disk"
        )


@contextmanager
def _narrated(
    wanted: Wanted, part: Path, report: Callable[[Dict[str, Any]], None]
) -> Iterator[None]:
    """Say how far it is, from what has arrived on the disk, whichever library fetches it."""
    ended = threading.Event()
    size = wanted.bytes or wanted.size
    whole = f" of {sized(size)}" if size else ""

    def watch() -> None:
        while not ended.wait(_EVERY):
            report({"message": f"{wanted.name}: {sized(_bytes_in(part))}{whole}"})

    print(f"checkpoint {wanted.name}: fetching to {wanted.path}{whole}", flush=True)
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _bytes_in(folder: Path) -> int:
    total = 0
    for top, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(top, name)).st_size
            except OSError:
                continue  # renamed meanwhile
    return total


def _part(path: Path) -> Path:
    """Beside the place, so that a rename moves it there; another box on the same volume has one
    of its own."""
    who = f"{socket.gethostname()}:{paths.root()}"
    return path.parent / f".{path.name}.devbox-part-{_short(who)}"


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    with open(_note(path).with_suffix(".lock"), "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _stamp(wanted: Wanted) -> None:
    json_file.write(_note(wanted.path), _identity(wanted))


def _identity(wanted: Wanted) -> Dict[str, Any]:
    """What was verified, and of which file."""
    seen = wanted.path.stat()
    return {"size": seen.st_size, "mtime": seen.st_mtime_ns, "sha256": wanted.sha256}


def _note(path: Path) -> Path:
    folder = paths.root() / "checkpoints"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / f"{_short(os.path.realpath(path))}.json"


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]

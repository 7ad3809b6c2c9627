"""`checkpoints list|verify|pull|push`: a request on stdin, its answer as the last line on stdout.

What is printed meanwhile, by pip or a client library, goes to stderr.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import BinaryIO, Callable, Dict, List, NamedTuple

from devbox.box import packages
from devbox.box.checkpoints import bucket, hub, provide, source
from devbox.box.checkpoints.provide import CheckpointError, Report, Wanted
from devbox.wire.checkpoints import (
    CheckpointProgress,
    CheckpointsAnswer,
    CheckpointsRequest,
    CheckpointState,
    State,
)
from devbox.wire.codec import Unreadable, decode, encode

Say = Callable[[NamedTuple], None]

_MOST = 4 << 20


def main(argv: List[str]) -> int:
    """The verb. Exit code 2: it was not asked for anything that it knows."""
    actions: Dict[str, Callable[[Wanted, Say], CheckpointState]] = {
        "list": lambda wanted, _: look(wanted),
        "verify": lambda wanted, _: verify(wanted),
        "pull": pull,
        "push": lambda wanted, say: push(wanted, replace=request.replace),
    }
    out = _own_stdout()
    try:
        request = decode(sys.stdin.buffer.read(_MOST + 1), CheckpointsRequest, limit=_MOST)
        action = actions[argv[0]]
    except (Unreadable, IndexError, KeyError) as error:
        print(f"checkpoints: the request {error}", file=sys.stderr)
        return 2

    def say(line: NamedTuple) -> None:
        out.write(encode(line))
        out.flush()

    states = []
    for name, asked in request.checkpoints.items():
        path = Path.home() / asked.path
        try:
            wanted = provide.wanted_of(name, path, asked.fetch, request.secrets.get(name, ""))
            states.append(action(wanted, say))
        except (CheckpointError, OSError, packages.PackagesMissing) as error:
            states.append(CheckpointState(name, "failed", str(path), message=str(error)))
    say(CheckpointsAnswer(tuple(states)))
    return 0


def look(wanted: Wanted) -> CheckpointState:
    """What is at its place, without reading it."""
    name, path = wanted.name, wanted.path
    if path.exists():
        checked = bool(wanted.sha256) and provide.is_verified(wanted)
        done: State = "verified" if checked else "there"
        return CheckpointState(name, done, str(path), provide.bytes_in(path))
    part = provide.part_of(path)
    if part.exists() and provide.bytes_in(part):
        return CheckpointState(name, "partial", str(path), provide.bytes_in(part))
    return CheckpointState(name, "missing", str(path))


def verify(wanted: Wanted) -> CheckpointState:
    """Read it all and compare. Of a folder only that it is there."""
    name, path = wanted.name, str(wanted.path)
    if not wanted.path.exists():
        return look(wanted)
    size = provide.bytes_in(wanted.path)
    if wanted.path.is_dir() or wanted.source.is_folder:
        fits = wanted.path.is_dir() == wanted.source.is_folder
        said = "" if fits else f"{path} is no {'folder' if wanted.source.is_folder else 'file'}"
        return CheckpointState(name, "there" if fits else "wrong", path, size, message=said)
    found = provide.digest_of(wanted.path)
    wrong = []
    if wanted.bytes is not None and size != wanted.bytes:
        wrong.append(f"{size} bytes, not {wanted.bytes}")
    if wanted.sha256 and found != wanted.sha256:
        wrong.append(f"sha256 {found}, not {wanted.sha256}")
    if wrong:
        return CheckpointState(name, "wrong", path, size, found, "; ".join(wrong))
    if wanted.sha256:
        provide.stamp(wanted)
    return CheckpointState(name, "verified" if wanted.sha256 else "there", path, size, found)


def pull(wanted: Wanted, say: Say) -> CheckpointState:
    """Fetch it unless it is there; either way it is checked."""

    def report(told: Report) -> None:
        if "bytes" in told:
            say(CheckpointProgress(wanted.name, told["bytes"], told["message"]))

    wanted.path.parent.mkdir(parents=True, exist_ok=True)
    provide.provide(wanted, report)
    return look(wanted)


def push(wanted: Wanted, *, replace: bool) -> CheckpointState:
    """Put the file at its place into its source. Refused unless it is what devbox.toml says."""
    name, path, where = wanted.name, str(wanted.path), wanted.source
    if where.is_folder or where.kind not in (source.HUB, source.BUCKET):
        raise CheckpointError(
            f"checkpoint {name}: only a file of an hf:// or gs:// source can be pushed"
        )
    seen = verify(wanted)
    if seen.state not in ("verified", "there"):
        raise CheckpointError(f"checkpoint {name}: {seen.message or path + ' is not there'}")
    way = hub.push if where.kind == source.HUB else bucket.push
    sent = way(where, wanted.path, wanted.secret, replace=replace)
    return CheckpointState(name, "sent" if sent else "unchanged", path, seen.bytes, seen.sha256)


def _own_stdout() -> BinaryIO:
    """Our stdout, for answers alone: whatever else is printed goes to stderr from here on."""
    own = os.fdopen(os.dup(1), "wb")
    sys.stdout.flush()
    os.dup2(2, 1)
    return own

"""Small JSON files of the box half, read and written whole."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple, Optional, Type, TypeVar

from devbox.wire.codec import Json, JsonObject, Unreadable, convert, plain

M = TypeVar("M", bound=NamedTuple)

MAX_BYTES = 1 << 20


def write(path: Path, value: object, *, durable: bool = False) -> None:
    """Replace `path` in one step by a message or plain JSON, mode 0600. durable: what is there
    survives a machine that loses power. OSError when the disk is full or read-only."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
            json.dump(plain(value), stream, separators=(",", ":"), allow_nan=False)
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def read(path: Path) -> Optional[JsonObject]:
    """The object in `path`; None when it is missing, too long or not a JSON object."""
    try:
        with path.open("rb") as stream:
            value: Json = json.loads(stream.read(MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def load(path: Path, kind: Type[M]) -> Optional[M]:
    """The message in `path`; None when there is none that can be read."""
    try:
        return convert(read(path), kind)
    except Unreadable:
        return None


def number(value: object) -> Optional[float]:
    """A finite number that is not negative, else None: what a measured or received value may be."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if 0 <= found < float("inf") else None

"""Records as devbox stores them, which may be of another version: read as far as they can be.

The schema that users write (`spec.tables`) is strict, so that a slip in devbox.toml is told. A
stored record is not: a box that is billed must be listed and ended whichever version wrote it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar, get_args, get_origin

import msgspec

from devbox.described import described
from devbox.errors import StateDamaged
from devbox.model import Box
from devbox.spec.box_tables import BoxSpec
from devbox.spec.values import Bytes, Seconds
from devbox.text import clean

S = TypeVar("S", bound=msgspec.Struct)
_NOTHING = object()


def lenient(value: object, kind: type[S]) -> tuple[S | None, tuple[str, ...]]:
    """`value` as a `kind`, and the dotted keys of what could not be read.

    Unknown keys are left out. A value that does not convert is left out too, so that its field
    has its default. None when a required field of `kind` itself is missing.
    """
    lost: list[str] = []
    found = _read(value, kind, "", lost)
    return (found if isinstance(found, kind) else None), tuple(lost)


def encode_box(box: BoxSpec) -> bytes:
    """The frozen form of a spec that a box's record keeps."""
    return msgspec.json.encode(box, enc_hook=_plain)


def decode_box(blob: bytes) -> BoxSpec:
    """Inverse of `encode_box`, with defaults for what cannot be read: enough to list a box, to
    save its files and to end it. `require_whole` before one is started from it."""
    return _decode(blob)[0]


def unread(blob: bytes) -> tuple[str, ...]:
    """Keys of a stored spec that `decode_box` has defaults for, as they cannot be read; ('',) when
    nothing of it can."""
    return _decode(blob)[1]


def require_whole(box: Box) -> None:
    """StateDamaged unless all of a box's spec can be read."""
    if lost := unread(box.spec):
        keys = clean(", ".join(filter(None, lost)), 200) or "any of it"
        raise StateDamaged(
            f"what box {box.name} was asked to be cannot be read: {keys}",
            means="nothing was started; it can still be listed, paused and ended",
            fix="devbox doctor --fix puts the defaults in their place",
        )


def is_headless(box: Box) -> bool:
    """Whether it was asked for as a command, so that nobody can log in to it."""
    return bool(decode_box(box.spec).command)


def _decode(blob: bytes) -> tuple[BoxSpec, tuple[str, ...]]:
    try:
        value = msgspec.json.decode(blob)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return BoxSpec(), ("",)
    found, lost = lenient(value, BoxSpec)
    return found or BoxSpec(), lost


def _read(value: object, kind: object, at: str, lost: list[str]) -> object:
    try:
        return msgspec.convert(value, described(kind), dec_hook=_hook)
    except (msgspec.ValidationError, RecursionError, OverflowError):
        pass
    if isinstance(value, dict) and get_origin(kind) is dict:
        inner = get_args(kind)[1]
        return _each(((key, value[key], inner) for key in value), at, lost)
    if isinstance(value, dict) and (struct := _struct(kind)):
        fields = msgspec.structs.fields(struct)
        known = ((f.name, value[f.name], f.type) for f in fields if f.name in value)
        try:
            return struct(**_each(known, at, lost))
        except TypeError:
            pass  # a required field is missing
    lost.append(at)
    return _NOTHING


def _each(
    values: Iterable[tuple[str, object, object]], at: str, lost: list[str]
) -> dict[str, object]:
    """Those of (key, value, type) that can be read."""
    read = {key: _read(value, kind, _join(at, key), lost) for key, value, kind in values}
    return {key: inner for key, inner in read.items() if inner is not _NOTHING}


def _struct(kind: object) -> type[msgspec.Struct] | None:
    """The struct that `kind` is, or may be."""
    for one in (kind, *get_args(kind)):
        if isinstance(one, type) and issubclass(one, msgspec.Struct):
            return one
    return None


def _join(at: str, key: object) -> str:
    return f"{at}.{key}" if at else str(key)


def _hook(kind: type, value: object) -> object:
    """Durations and sizes, which are stored as numbers of seconds and bytes."""
    if kind in (Seconds, Bytes) and isinstance(value, (int, float)):
        return kind(value)
    raise ValueError(f"not stored as a {kind.__name__}")


def _plain(value: Seconds | Bytes) -> float:
    return float(value) if isinstance(value, float) else int(value)

"""Protobuf's wire format, as far as the engine's calls need it: varints and length-delimited
fields."""

from __future__ import annotations

from collections.abc import Iterator


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(field number, value): a number for varints, bytes for the others. ValueError when the
    message is cut or malformed."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            found, at = _varint(message, at)
            yield key >> 3, found
            continue
        if kind == 2:
            length, at = _varint(message, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError(f"protobuf: wire type {kind}")
        if at + length > len(message):
            raise ValueError("protobuf: cut short")
        yield key >> 3, message[at : at + length]
        at += length


def field(key: int, value: int | bytes) -> bytes:
    """One field: a varint of a number, or bytes behind their length."""
    if isinstance(value, int):
        return _encoded(key << 3) + _encoded(value)
    return _encoded(key << 3 | 2) + _encoded(len(value)) + value


def number(value: int | bytes | None) -> int:
    """A field's number; 0 when it is missing, as protobuf has it."""
    return value if isinstance(value, int) else 0


def octets(value: int | bytes | None) -> bytes:
    """A field's bytes; none when it is missing."""
    return value if isinstance(value, bytes) else b""


def text(value: int | bytes | str | None) -> str:
    """A field's text; empty when it is missing."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value if isinstance(value, str) else ""


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message) and shift < 70:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("protobuf: cut short")


def _encoded(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)

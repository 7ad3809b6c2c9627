"""What the tables of devbox.toml are made of."""

from __future__ import annotations

from typing import Annotated

import msgspec


class Seconds(float):
    """A duration in seconds, written '30m' or '1h30m' in TOML."""


class Bytes(int):
    """A size in bytes, written '40GB' in TOML."""


#: a number that is not below zero; beyond a million it is a slip of the pen
Number = Annotated[float, msgspec.Meta(ge=0, le=1_000_000)]


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A TOML table: keys that are not listed are an error."""

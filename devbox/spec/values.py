"""What the tables of devbox.toml are made of."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec


class Seconds(float):
    """A duration in seconds, written '30m' or '1h30m' in TOML."""


class Bytes(int):
    """A size in bytes, written '40GB' in TOML."""


#: a number that is not below zero; beyond a million it is a slip of the pen
Number = Annotated[float, msgspec.Meta(ge=0, le=1_000_000)]


#: who is first in a box's queue, the higher the earlier; or one of the names in RANKS
Priority = Annotated[int, msgspec.Meta(ge=-1000, le=1000)] | Literal["low", "normal", "high"]
RANKS = {"low": -100, "normal": 0, "high": 100}


def rank(priority: Priority) -> int:
    """The number of a priority."""
    return RANKS[priority] if isinstance(priority, str) else priority


#: as huggingface_hub 2.4.0 documents network_group of run_job
Group = Annotated[str, msgspec.Meta(pattern="^[a-z0-9-]{0,46}$")]


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A TOML table: keys that are not listed are an error."""

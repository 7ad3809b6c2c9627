"""The variants a checkpoint may be, and how many parameters each has.

Two sets of counts are shipped for stick-gen. `code`: what its code instantiates to at the published
dimensions (input and output 20, 64 actions). `guide`: what its older guide expects, which refuses
every checkpoint that this code makes. [publish.variants] of devbox.toml replaces them.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from devbox.errors import NotFound
from devbox.spec import Publish, Variant
from devbox.text import clean

_SIZES = {"small": (256, 8, 6), "medium": (384, 12, 8), "large": (512, 16, 10)}
PROFILES = {
    "code": {"small": 7_248_894, "medium": 20_595_646, "large": 44_619_646},
    "guide": {"small": 5_600_000, "medium": 15_800_000, "large": 28_000_000},
}
#: older names, understood where the project has no variant of that name
_BEFORE = {"base": "medium"}


class Chosen(NamedTuple):
    """profile: where the count comes from: code, guide or devbox.toml."""

    name: str
    variant: Variant
    profile: str

    def window(self, tolerance: float) -> tuple[int, int]:
        """The fewest and the most parameters that pass, both included."""
        slack = round(self.variant.parameters * tolerance)
        return self.variant.parameters - slack, self.variant.parameters + slack


def choose(table: Publish, name: str, profile: str = "") -> Chosen:
    """NotFound lists the variants there are. The paths and the repository in it have the variant's
    name filled in."""
    used = profile or ("" if table.variants else table.profile)
    shipped = {
        key: Variant(parameters=count, expect=_expected(key))
        for key, count in PROFILES.get(used, {}).items()
    }
    known = shipped if used else table.variants
    name = name if name in known else _BEFORE.get(name, name)
    if name not in known:
        raise NotFound(
            f"there is no variant {clean(name, 40)!r} (variants: {', '.join(known)})",
            fix="name one of them, or add [publish.variants.NAME] with parameters to devbox.toml",
        )
    found = known[name]
    filled = {
        key: (getattr(found, key) or getattr(table, key)).replace("{variant}", name)
        for key in ("config", "card", "repo")
    }
    return Chosen(name, msgspec.structs.replace(found, **filled), used or "devbox.toml")


def _expected(name: str) -> dict[str, str | int | float | bool]:
    width, heads, layers = _SIZES[name]
    return {"model.d_model": width, "model.nhead": heads, "model.num_layers": layers}

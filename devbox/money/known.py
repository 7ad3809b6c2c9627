"""Which hardware each provider has, as far as is known without asking: what it offered last, else
its dated catalogue. For completion, which must be fast and works without a network."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from devbox import files, paths
from devbox.described import described
from devbox.errors import DevboxError
from devbox.model import UNKNOWN_PRICE, Hardware, Offer
from devbox.providers import registry

#: what a name may hold so that a shell completes it as one word
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,62}")


def remember(offers: Iterable[Offer]) -> None:
    """Keep what providers offered just now. A disk that takes none is no reason to fail."""
    with suppress(OSError, DevboxError):
        kept = _kept()
        fresh: dict[str, list[Hardware]] = {}
        for offer in offers:
            fresh.setdefault(offer.provider, []).append(offer.hardware)
        if kept | fresh != kept:
            files.write_atomic(_file(), msgspec.json.encode(kept | fresh))


def hardware(provider: str) -> Sequence[Hardware]:
    """Of one provider, those whose name can be typed."""
    found = _kept().get(provider) or registry.catalogue(provider)
    return [each for each in found if _WORD.fullmatch(each.name)]


def gpus() -> list[str]:
    """The names that `gpu = …` takes at some provider."""
    from devbox.money import choices

    offers = [
        Offer(name, each, UNKNOWN_PRICE, 0.0) for name in registry.NAMES for each in hardware(name)
    ]
    names = (gpu.name for gpu in choices.gpus(offers))
    return sorted(name for name in names if _WORD.fullmatch(name))


def _kept() -> dict[str, list[Hardware]]:
    try:
        return msgspec.json.decode(_file().read_bytes(), type=described(dict[str, list[Hardware]]))
    except (OSError, msgspec.DecodeError):
        return {}


def _file() -> Path:
    return paths.cache_dir() / "offers.json"

"""Which GPUs there are, each under the name that `gpu = …` takes at every provider. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from devbox.model import Hardware, Offer
from devbox.money.fit import rank, words

_MEMORY = re.compile(r"[0-9]+GB")


class Gpu(NamedTuple):
    """name: as `gpu = …` takes it. vram: bytes of one. offers: provider → its cheapest with one."""

    name: str
    vram: int
    offers: Mapping[str, Offer]

    @property
    def cheapest(self) -> Offer:
        return min(self.offers.values(), key=rank)


def gpus(offers: Iterable[Offer]) -> list[Gpu]:
    """The GPUs of offers with one of them, cheapest first; those whose price nobody tells last.
    A GPU that comes with several sizes of memory is one for each. A machine that does not name its
    GPU (a Docker engine elsewhere) has none that could be asked for by name."""
    by_model: dict[tuple[str, ...], dict[int, list[Offer]]] = {}
    for offer in offers:
        model = _model(offer.hardware)
        if offer.hardware.gpus == 1 and model:
            sizes = by_model.setdefault(model, {})
            sizes.setdefault(_gigabytes(offer.hardware), []).append(offer)
    found = []
    for model, sizes in by_model.items():
        for gigabytes, group in sizes.items():
            memory = f"-{gigabytes}GB" if len(sizes) > 1 else ""
            best: dict[str, Offer] = {}
            for offer in sorted(group, key=rank):
                best.setdefault(offer.provider, offer)
            found.append(Gpu("-".join(model) + memory, group[0].hardware.vram, best))
    return sorted(found, key=lambda gpu: rank(gpu.cheapest))


def plain(offers: Iterable[Offer]) -> dict[str, Offer]:
    """Provider → its cheapest hardware without a GPU."""
    best: dict[str, Offer] = {}
    for offer in sorted(offers, key=rank):
        if not offer.hardware.gpus:
            best.setdefault(offer.provider, offer)
    return best


def _model(hardware: Hardware) -> tuple[str, ...]:
    """The words of a GPU's name but for its memory, in the provider's order."""
    own = words(hardware.gpu)
    said = re.split(r"[\s_-]+", hardware.gpu.upper())
    return tuple(dict.fromkeys(w for w in said if w in own and not _MEMORY.fullmatch(w)))


def _gigabytes(hardware: Hardware) -> int:
    return round(hardware.vram / (1 << 30))

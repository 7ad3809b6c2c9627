"""Offers across providers, cheapest first. Pure but for the asking itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from devbox.errors import DevboxError
from devbox.model import Offer
from devbox.money import known
from devbox.money.fit import affordable, has_gpu, rank
from devbox.providers.base import Provider
from devbox.workspace import Workspace


def gather(ws: Workspace, providers: Sequence[str]) -> tuple[list[Offer], dict[str, str]]:
    """Every provider's offers, asked at once; and provider → why it gave none."""
    loaded: dict[str, Provider] = {}
    failed: dict[str, str] = {}
    for name in providers:
        try:
            loaded[name] = ws.provider(name)
        except DevboxError as error:
            failed[name] = error.what

    def ask(name: str) -> list[Offer] | DevboxError:
        try:
            return loaded[name].offers()
        except DevboxError as error:
            return error

    with ThreadPoolExecutor(max(1, len(loaded))) as pool:
        answers = dict(zip(loaded, pool.map(ask, loaded), strict=True))
    offers = [offer for answer in answers.values() if isinstance(answer, list) for offer in answer]
    known.remember(offers)
    failed |= {n: a.what for n, a in answers.items() if isinstance(a, DevboxError)}
    return offers, failed


def select(
    offers: Iterable[Offer], *, gpu: str = "", vram: int = 0, max_price: float | None = None
) -> list[Offer]:
    """Those with that GPU, at least `vram` bytes and at most `max_price` dollars an hour, cheapest
    first; unknown prices last."""
    able = (o for o in offers if not gpu or has_gpu(gpu, o.hardware))
    fitting = (o for o in able if o.hardware.vram >= vram and affordable(o, max_price))
    return sorted(fitting, key=rank)

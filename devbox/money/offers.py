"""Offers across providers, cheapest first. Pure but for the asking itself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence

from devbox.errors import DevboxError
from devbox.model import Offer
from devbox.money import known
from devbox.money.fit import affordable, has_gpu, rank
from devbox.providers.base import Provider
from devbox.text import duration
from devbox.workspace import Workspace

Answer = list[Offer] | DevboxError


def gather(ws: Workspace, providers: Sequence[str]) -> tuple[list[Offer], dict[str, str]]:
    """Every provider's offers, asked at once; and provider → why it gave none."""
    loaded: dict[str, Provider] = {}
    failed: dict[str, str] = {}
    for name in providers:
        try:
            loaded[name] = ws.provider(name)
        except DevboxError as error:
            failed[name] = error.what
    answers = ask(ws, {name: provider.offers for name, provider in loaded.items()})
    offers = [offer for answer in answers.values() if isinstance(answer, list) for offer in answer]
    known.remember(offers)
    failed |= {n: a.what for n, a in answers.items() if isinstance(a, DevboxError)}
    return offers, failed


def ask(ws: Workspace, asks: Mapping[str, Callable[[], list[Offer]]]) -> dict[str, Answer]:
    """Name → what was answered, all asked at once. Who is silent for long is told of; whoever waits
    no longer (Ctrl-C) leaves at once."""
    answers: dict[str, Answer] = {}

    def answer(name: str) -> None:
        try:
            answers[name] = asks[name]()
        except DevboxError as error:
            answers[name] = error
        except BaseException as error:
            broken[name] = error

    broken: dict[str, BaseException] = {}
    began = ws.clock()
    threads = [threading.Thread(target=answer, args=(name,), daemon=True) for name in asks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(ws.tell_every)
        while thread.is_alive():
            silent = [name for name in asks if name not in answers]
            ws.narrate(
                f"waiting for the offers of {', '.join(silent)} for "
                f"{duration(ws.clock() - began)}; nothing was started"
            )
            thread.join(ws.tell_every)
    for error in broken.values():
        raise error
    return {name: answers[name] for name in asks}


def select(
    offers: Iterable[Offer], *, gpu: str = "", vram: int = 0, max_price: float | None = None
) -> list[Offer]:
    """Those with that GPU, at least `vram` bytes and at most `max_price` dollars an hour, cheapest
    first; unknown prices last."""
    able = (o for o in offers if not gpu or has_gpu(gpu, o.hardware))
    fitting = (o for o in able if o.hardware.vram >= vram and affordable(o, max_price))
    return sorted(fitting, key=rank)

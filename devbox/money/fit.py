"""Which hardware fits what a user asked for: a pure choice among offers."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

import msgspec

from devbox.errors import NotFound
from devbox.model import Hardware, Offer
from devbox.money import known
from devbox.providers.base import Provider
from devbox.spec import BoxSpec
from devbox.text import clean, did_you_mean, dollars, size


def fit(wanted: BoxSpec, offers: Iterable[Offer]) -> Offer:
    """The named hardware, else the cheapest offer with that GPU, enough VRAM, CPUs and memory and
    under max_price. NotFound says what was asked and what comes closest."""
    offers = list(offers)
    if wanted.hardware:
        for offer in offers:
            if offer.hardware.name == wanted.hardware:
                return _with_gpu(wanted, offer)
        names = sorted(offer.hardware.name for offer in offers)
        raise NotFound(
            f"provider {wanted.provider} has no hardware {wanted.hardware!r}",
            means="nothing was started",
            fix=f"{did_you_mean(wanted.hardware, names)}use one of: {', '.join(names[:30])}",
        )
    able = [offer for offer in offers if _enough(wanted, offer)]
    fitting = [offer for offer in able if affordable(offer, wanted.max_price)]
    if fitting:
        return min(fitting, key=rank)
    closest = min(able, key=rank, default=None)
    hint = (
        f"the cheapest that fits is {closest.hardware.name} at "
        f"{dollars(closest.price.micro_per_hour, per_hour=True)}"
        if closest
        else "nothing there is large enough"
    )
    limit = "" if wanted.max_price is None else f" at up to ${wanted.max_price:g}/h"
    asked = [clean(wanted.gpu, 40)] * bool(wanted.gpu)
    asked += [f"{size(wanted.vram)} VRAM"] * bool(wanted.vram or not asked)
    there = sorted({offer.hardware.gpu for offer in offers if offer.hardware.gpu})
    near = did_you_mean(wanted.gpu, there) if wanted.gpu and not able else ""
    if wanted.gpu and not able:
        hint = f"its GPUs are {', '.join(there)}" if there else "it has no GPU"
    raise NotFound(
        f"provider {wanted.provider} offers nothing with {' and '.join(asked)}{limit}: {hint}",
        means="nothing was started",
        fix=f"{near}compare with: devbox offers",
    )


def has_gpu(asked: str, hardware: Hardware) -> bool:
    """Whether hardware has the GPUs asked for: "L40S", "a100-80gb", "A100:2" for at least two. Each
    word of the name must be one of the provider's name for it (L4 is not L40S), or be the memory
    that each GPU has."""
    name, _, count = asked.partition(":")
    least = int(count) if count.isdecimal() else 1
    if hardware.gpus < max(1, least):
        return False
    own, each = words(hardware.gpu), hardware.vram / hardware.gpus
    said = words(name)
    return bool(said) and all(word in own or _is_memory(word, each) for word in said)


def _is_memory(word: str, each: float) -> bool:
    found = re.fullmatch(r"([0-9]+)GB", word)
    return found is not None and round(each / (1 << 30)) == int(found[1])


def words(gpu: str) -> set[str]:
    """What a GPU's name is compared by: "NVIDIA L40S" → {"L40S"}."""
    return {*re.split(r"[\s_-]+", gpu.upper())} - {"NVIDIA", "TESLA", ""}


def _with_gpu(wanted: BoxSpec, offer: Offer) -> Offer:
    """The named hardware, which must not contradict the GPU that is asked for beside it."""
    if wanted.gpu and not has_gpu(wanted.gpu, offer.hardware):
        raise NotFound(
            f"hardware {offer.hardware.name} has {offer.hardware.gpu or 'no GPU'}, and the box "
            f"asks for {wanted.gpu}",
            means="nothing was started",
            fix="name one of them: hardware or gpu",
        )
    return offer


def best(provider: Provider, wanted: BoxSpec) -> Offer:
    """`fit` among what a provider offers now. Its other names of hardware are understood."""
    named = msgspec.structs.replace(wanted, hardware=provider.hardware_name(wanted.hardware))
    offers = provider.offers_for(named)
    known.remember(offers)
    return fit(named, offers)


def rank(offer: Offer) -> tuple[float, float, str]:
    """Cheapest first; unknown prices last; then the larger VRAM."""
    micro = offer.price.micro_per_hour
    return (math.inf if micro is None else micro, -offer.hardware.vram, offer.hardware.name)


def affordable(offer: Offer, max_price: float | None) -> bool:
    """Within max_price dollars an hour. An unknown price is never within a limit."""
    if max_price is None:
        return True
    micro = offer.price.micro_per_hour
    return micro is not None and micro <= round(max_price * 1_000_000)


def _enough(wanted: BoxSpec, offer: Offer) -> bool:
    hardware = offer.hardware
    return (
        (not wanted.gpu or has_gpu(wanted.gpu, hardware))
        and hardware.vram >= wanted.vram
        and hardware.cpus >= (wanted.cpu or 0)
        and hardware.memory >= wanted.memory
    )

"""Which hardware fits what a user asked for: a pure choice among offers."""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec

from devbox.errors import NotFound
from devbox.model import Offer
from devbox.providers.base import Provider
from devbox.spec import BoxSpec
from devbox.text import did_you_mean, dollars, size


def fit(wanted: BoxSpec, offers: Iterable[Offer]) -> Offer:
    """The named hardware, else the cheapest offer with enough VRAM, CPUs and memory under
    max_price. NotFound says what was asked and what comes closest."""
    offers = list(offers)
    if wanted.hardware:
        for offer in offers:
            if offer.hardware.name == wanted.hardware:
                return offer
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
    raise NotFound(
        f"provider {wanted.provider} offers nothing with {size(wanted.vram)} VRAM{limit}: {hint}",
        means="nothing was started",
        fix="compare with: devbox offers",
    )


def best(provider: Provider, wanted: BoxSpec) -> Offer:
    """`fit` among what a provider offers now. Its other names of hardware are understood."""
    named = msgspec.structs.replace(wanted, hardware=provider.hardware_name(wanted.hardware))
    return fit(named, provider.offers_for(named))


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
        hardware.vram >= wanted.vram
        and hardware.cpus >= (wanted.cpu or 0)
        and hardware.memory >= wanted.memory
    )

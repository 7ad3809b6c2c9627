"""Which hardware fits what a user asked for: a pure choice among offers."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from msgspec import structs

from devbox.errors import NotFound
from devbox.model import Hardware, Offer
from devbox.money import known
from devbox.providers.base import Provider
from devbox.spec import BoxSpec, choice_of, choices
from devbox.text import clean, did_you_mean, dollars, size


class Candidate(NamedTuple):
    """One way to have a box. spec: the box of just this provider and hardware."""

    spec: BoxSpec
    offer: Offer


def candidates(
    wanted: BoxSpec,
    offers: Iterable[Offer],
    name_of: Callable[[str, str], str] = lambda _, name: name,
) -> list[Candidate]:
    """What a box may be made as, in the order in which to ask for it: as written, or the cheapest
    first (`choose`). Where needs are named and no hardware, a provider's cheapest that fits; with
    max_price every one that fits, as without a limit the next may cost several times as much. Of
    several choices those above max_price are left out.

    offers: of all its providers; a provider without any is left out. name_of: (provider, name of
    hardware) → the provider's own. NotFound for hardware that its provider does not have, and when
    nothing is left.
    """
    everything = list(offers)
    found: dict[tuple[str, str], Candidate] = {}
    missing: list[NotFound] = []
    several = choices(wanted)
    for written in several:
        named = name_of(written.provider, written.first_hardware)
        choice = structs.replace(written, hardware=named)
        own = [offer for offer in everything if offer.provider == choice.provider]
        try:
            fits = _fitting(choice, own)
        except NotFound as error:
            if named and own:
                raise
            missing.append(error)
            continue
        if len(several) > 1 and not affordable(fits[0], choice.max_price):
            missing.append(_too_dear(choice, fits[0]))
            continue
        for offer in fits:
            candidate = Candidate(written, offer)
            found.setdefault((offer.provider, offer.hardware.name), candidate)
    if not found:
        raise missing[0]
    ordered = list(found.values())
    return ordered if wanted.choose == "first" else sorted(ordered, key=lambda c: rank(c.offer))


def fit(wanted: BoxSpec, offers: Iterable[Offer]) -> Offer:
    """The first named hardware, else the cheapest offer with that GPU, enough VRAM, CPUs and memory
    and under max_price. NotFound says what was asked and what comes closest."""
    return _fitting(choices(wanted)[0], list(offers))[0]


def _fitting(wanted: BoxSpec, offers: Sequence[Offer]) -> list[Offer]:
    """The named hardware; else the cheapest that fits, with max_price all that do, cheapest first.
    wanted: a single choice. NotFound."""
    if wanted.first_hardware:
        return [_named(wanted, wanted.first_hardware, offers)]
    able = [offer for offer in offers if _enough(wanted, offer)]
    fitting = sorted((o for o in able if affordable(o, wanted.max_price)), key=rank)
    if not fitting:
        raise _nothing(wanted, offers, able)
    return fitting if wanted.max_price is not None else fitting[:1]


def _named(wanted: BoxSpec, name: str, offers: Sequence[Offer]) -> Offer:
    for offer in offers:
        if offer.hardware.name == name:
            return _with_gpu(wanted, offer)
    names = sorted(offer.hardware.name for offer in offers)
    raise NotFound(
        f"provider {wanted.provider} has no hardware {name!r}",
        means="nothing was started",
        fix=f"{did_you_mean(name, names)}use one of: {', '.join(names[:30])}",
    )


def _too_dear(wanted: BoxSpec, offer: Offer) -> NotFound:
    price = dollars(offer.price.micro_per_hour, per_hour=True)
    return NotFound(
        f"{offer.provider} {offer.hardware.name} costs {price}, and max_price is "
        f"${wanted.max_price:g}/h",
        means="nothing was started",
        fix="raise max_price, or compare with: devbox offers",
    )


def _nothing(wanted: BoxSpec, offers: Sequence[Offer], able: Sequence[Offer]) -> NotFound:
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
    return NotFound(
        f"provider {wanted.provider} offers nothing with {' and '.join(asked)}{limit}: {hint}",
        means="nothing was started",
        fix=f"{near}compare with: {_offers(wanted) if able or not near else 'devbox offers'}",
    )


def _offers(wanted: BoxSpec) -> str:
    """The command that lists what any provider has of it."""
    words = ["devbox", "offers"]
    words += ["--gpu", clean(wanted.gpu, 40)] if wanted.gpu else []
    words += ["--vram", size(wanted.vram).replace(" ", "")] if wanted.vram else []
    return shlex.join(words)


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
    """`fit` among what a provider offers now, of the first of several choices there. Its other
    names of hardware are understood."""
    first = choice_of(wanted, provider.name, "")
    named = structs.replace(first, hardware=provider.hardware_name(first.first_hardware))
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

"""A box with several providers or kinds of hardware to choose from, as boxes of one each. Pure."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import structs

from devbox.spec.tables import BoxSpec


def choices(box: BoxSpec) -> tuple[BoxSpec, ...]:
    """Each provider and named hardware that a box may have, in the order they are written, as a
    box of just that: `hardware` is one name, or '' where needs are named instead."""
    return tuple(
        structs.replace(at, hardware=name)
        for at in (_at(box, provider) for provider in box.providers or (box.provider,))
        for name in ([at.hardware] if isinstance(at.hardware, str) else at.hardware)
    )


def choice_of(
    box: BoxSpec, provider: str, hardware: str, name_of: Callable[[str], str] = str
) -> BoxSpec:
    """The choice that a box at that provider, on that hardware, is one of: the one that names its
    hardware, else the first of its provider, else the first. name_of: the provider's own name of
    hardware."""
    found = choices(box)
    there = [each for each in found if each.provider == provider]
    same = [each for each in there if name_of(each.first_hardware) == hardware]
    return (same or there or list(found))[0]


def _at(box: BoxSpec, provider: str) -> BoxSpec:
    """The box at one of its providers."""
    table = box.on.get(provider)
    own = {k: v for k, v in structs.asdict(table).items() if v is not None} if table else {}
    if {"gpu", "vram"} & own.keys():
        own = {"hardware": "", **own}  # what is needed there comes in place of what is named here
    single = {"provider": provider, "providers": (), "on": {}, "choose": "first"}
    return structs.replace(box, **own, **single)

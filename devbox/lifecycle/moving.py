"""A paused box whose hardware is not free resumes on its next choice, as far as its user agrees."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import structs

from devbox import spec
from devbox.errors import DevboxError, NoCapacity, UsageError
from devbox.lifecycle.operation import BoxOperation
from devbox.lifecycle.pause import to_paused
from devbox.model import Box, BoxState
from devbox.money.fit import Candidate, candidates
from devbox.providers.abilities import CanPause
from devbox.text import dollars


def resumed(op: BoxOperation, run: Callable[[float | None], Box]) -> Box:
    """The box, running. run: brings it up as its record says; its argument is the seconds for which
    it may wait for hardware, None for as long as for anything else. NoCapacity when no choice has
    hardware free, or its user does not agree to the next; it is paused then, as it was."""
    first = op.box
    others = _next_choices(op) if first.state is BoxState.PAUSED else []
    patience = _asked(first).capacity_timeout if others else None
    try:
        return run(patience)
    except NoCapacity as error:
        refused = error
    for candidate in others:
        if not _is_paused_again(op):
            break
        _agree(op, candidate, refused)
        price, hardware = candidate.offer.price, candidate.offer.hardware.name
        made = spec.encode_box(_with_hardware(op.spec, candidate.spec))
        op.amend(spec=made, hardware=hardware, price=price)
        try:
            return run(patience)
        except NoCapacity as error:
            refused = error
        if _is_paused_again(op):
            op.amend(spec=first.spec, hardware=first.hardware, price=first.price)
    raise _elsewhere(op, refused)


def _next_choices(op: BoxOperation) -> list[Candidate]:
    """What else its provider may start the paused box on, in order; none where a resume keeps the
    hardware."""
    provider, asked = op.provider, _asked(op.box)
    if not isinstance(provider, CanPause) or "hardware" not in provider.resume_takes:
        return []
    here = structs.replace(asked, providers=(op.box.provider,))
    try:
        offers = [o for choice in spec.choices(here) for o in provider.offers_for(choice)]
        found = candidates(here, offers, lambda _, name: provider.hardware_name(name))
    except DevboxError:
        return []  # why: what else there is must not keep the box from its own hardware
    return [each for each in found if each.offer.hardware.name != op.box.hardware]


def _asked(box: Box) -> spec.BoxSpec:
    """The spec with all the choices that the box was asked for with."""
    return spec.decode_box(box.choices or box.spec)


def _with_hardware(made: spec.BoxSpec, chosen: spec.BoxSpec) -> spec.BoxSpec:
    keys = ("hardware", "gpu", "vram", "max_price", "cpu", "memory")
    return structs.replace(made, **{key: getattr(chosen, key) for key in keys})


def _agree(op: BoxOperation, candidate: Candidate, refused: NoCapacity) -> None:
    """Say what moves along and have the user asked. Whatever `ws.approve` raises when they decline;
    the refusal itself when there is nobody to ask."""
    kept = op.provider.pause_keeps(op.spec)
    hardware = candidate.offer.hardware.name
    rate = dollars(candidate.offer.price.micro_per_hour, per_hour=True)
    op.ws.narrate(refused.what)
    op.narrate(f"on {hardware} it has what the pause kept: {kept.words}")
    op.narrate(
        "programs that ran do not come back"
        if kept.disk
        else "its own disk does not come back: it is made again, and the project's files are sent "
        "again"
    )
    try:
        op.ws.approve(f"Resume {op.box.name} on {hardware} at {rate} instead?")
    except UsageError as unasked:
        refused.fix = unasked.fix or refused.fix
        raise refused from unasked


def _is_paused_again(op: BoxOperation) -> bool:
    """Whether it is as it was before the try; one that failed for want of hardware is paused."""
    box = op.reload()
    if box.state is BoxState.FAILED and op.provider.lacks_hardware(box.stage, box.message):
        op.begin("paused")
        box = to_paused(op)
    return box.state is BoxState.PAUSED


def _elsewhere(op: BoxOperation, refused: NoCapacity) -> NoCapacity:
    """The refusal, with what its other providers would mean."""
    others = [each for each in _asked(op.box).providers if each != op.box.provider]
    if others:
        refused.means = "; ".join(
            [
                refused.means,
                f"at {' or '.join(others)} it would be a new box: what it has at "
                f"{op.box.provider}, its files and volumes, does not move there",
            ]
        )
        refused.fix += (
            f"; or leave what it has, and: devbox down {op.box.name} && "
            f"devbox up {op.box.name} --provider {others[0]}"
        )
    return refused

"""What a box or a job needs of hardware, with the evidence, and why hardware does not do. Pure.

A job's VRAM comes from its memory profile and from earlier runs with the same arguments; the larger
counts. Between two measured points the upper one counts, and never less than one below it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from devbox.model import Hardware, Offer
from devbox.money.fit import affordable, has_gpu
from devbox.money.sizing import Evidence, memory_with_room, vram_with_room
from devbox.spec import BoxSpec, JobSpec, Memory
from devbox.text import clean, counted, dollars, size


class Need(msgspec.Struct, frozen=True):
    """gpu, gpus, cpus, max_price: as asked for. asked_vram, asked_memory: bytes that the hardware
    must have in all. vram: bytes that were measured, to be held by one GPU, None where nothing was;
    memory likewise. disk: bytes of the weights whose size is known. measured: `vram` holds for
    these arguments; else it is only the least. evidence: sentences."""

    gpu: str = ""
    gpus: int = 0
    cpus: float = 0
    asked_vram: int = 0
    asked_memory: int = 0
    vram: int | None = None
    memory: int | None = None
    disk: int = 0
    max_price: float | None = None
    measured: bool = False
    evidence: tuple[str, ...] = ()

    @property
    def vram_with_room(self) -> int | None:
        """Bytes that one GPU must have; None while nothing is known. What needs none needs no
        GPU."""
        return round(vram_with_room(self.vram)) if self.vram else self.vram


def of_box(wanted: BoxSpec) -> Need:
    """What a box's own table asks for, but for the hardware that it names."""
    return Need(
        gpu=wanted.gpu,
        gpus=1 if wanted.gpu or wanted.vram else 0,
        cpus=wanted.cpu or 0,
        asked_vram=int(wanted.vram),
        asked_memory=int(wanted.memory),
        max_price=wanted.max_price,
    )


def like(need: Need, named: Sequence[Hardware]) -> Need:
    """Of a box that says its hardware by name and no more: as many GPUs and as much VRAM as the
    smallest of these has. Others are unchanged."""
    if need.gpu or need.asked_vram or not named:
        return need
    gpus, vram = min(each.gpus for each in named), min(each.vram for each in named)
    if not gpus:
        return need
    smallest = min(named, key=lambda each: (each.vram, each.gpus)).name
    said = f"at least what {clean(smallest, 40)} has: {gpus} GPU, {size(vram)} VRAM"
    return msgspec.structs.replace(need, gpus=gpus, asked_vram=vram, evidence=(said,))


def of_job(
    job: JobSpec, args: Mapping[str, object], wanted: BoxSpec, past: Evidence, gpus: int, disk: int
) -> Need:
    """past: earlier runs with these arguments; gpus: the fewest that they ran on. wanted: of its
    box, whose max_price counts."""
    need = Need(
        gpus=1 if job.vram else 0,
        asked_vram=int(job.vram),
        disk=disk,
        max_price=wanted.max_price,
    )
    if job.memory:
        need = _with_profile(need, job.memory, args)
    told = past.runs + past.silent
    if told and (lacks := past.lacks(gpu=gpus > 0)):
        need = _also(need, f"{counted(told, 'earlier run')} with these arguments: {lacks}")
    elif told:
        held = past.vram or 0
        need = _also(
            need,
            f"{counted(past.runs, 'earlier run')} with these arguments held "
            f"{size(held)} VRAM and {size(past.memory or 0)} memory at most",
            vram=held,
            memory=past.memory,
            gpus=gpus,
            measured=True,
        )
    if need.vram is None and job.vram:
        need = _also(need, f"its job.toml asks for {size(int(job.vram))} VRAM, not measured")
    if not need.evidence:
        need = _also(need, "nothing measured: no memory profile, and no earlier run with these "
                           "arguments")  # fmt: skip
    return need


def why_not(need: Need, offer: Offer) -> str:
    """Why an offer does not do; '' when it does. What is not known of hardware does not do where
    something is needed of it."""
    hardware = offer.hardware
    if need.gpu and not has_gpu(need.gpu, hardware):
        return f"{need.gpu} is asked for"
    if hardware.gpus < need.gpus or (need.vram and not hardware.gpus):
        return f"{hardware.gpus or 'no'} GPU, {need.gpus or 1} needed"
    each = hardware.vram / max(1, hardware.gpus)
    room = need.vram_with_room
    if room and hardware.gpus and not hardware.vram:
        return f"its VRAM is not known, {size(room)} needed"
    if room and each < room:
        return f"{size(round(each))} VRAM in one GPU, {size(room)} needed"
    if hardware.vram < need.asked_vram:
        return f"{size(hardware.vram)} VRAM, {size(need.asked_vram)} asked for"
    return _beside(need, hardware) or (
        ""
        if affordable(offer, need.max_price)
        else f"{dollars(offer.price.micro_per_hour, per_hour=True)}, above max_price"
    )


def _beside(need: Need, hardware: Hardware) -> str:
    """Of memory, cores and disk."""
    memory = max(need.asked_memory, round(memory_with_room(need.memory or 0)))
    if memory and not hardware.memory:
        return f"its memory is not known, {size(memory)} needed"
    if hardware.memory < memory:
        return f"{size(hardware.memory)} memory, {size(memory)} needed"
    if hardware.cpus < need.cpus:
        return f"{hardware.cpus:g} CPU, {need.cpus:g} asked for"
    if hardware.disk and hardware.disk < need.disk:
        return f"{size(hardware.disk)} disk, {size(need.disk)} of weights"
    return ""


def _with_profile(need: Need, profile: Memory, args: Mapping[str, object]) -> Need:
    """By the job's measured points. Outside of them it says so."""
    source = f"({clean(profile.source, 120)})"
    points = [p for p in profile.points if all(args.get(k) == v for k, v in p.where.items())]
    if not points:
        names = sorted({name for point in profile.points for name in point.where})
        given = ", ".join(f"{name} {clean(str(args.get(name)), 40)}" for name in names)
        return _also(need, f"no measured point has {given} {source}")
    value = args.get(profile.by) if profile.by else 0
    if not isinstance(value, (int, float)):
        return _also(need, f"{profile.by} is not given, and the measured points go by it {source}")
    at = [(point.at or 0, int(point.vram), int(point.memory)) for point in points]
    above = min((x for x, _, _ in at if x >= value), default=None)
    last = max(x for x, _, _ in at) if above is None else above
    vram = max(vram for x, vram, _ in at if x <= last)
    memory = max(memory for x, _, memory in at if x <= last) or None
    which = f"at {profile.by} {last:g}" if profile.by else "for any arguments"
    said = f"{size(vram)} VRAM measured {which} {source}"
    if above is None:
        said += f"; {profile.by} {value:g} is above all measured points: it needs more than that"
    elif value < min(x for x, _, _ in at):
        said += f"; {profile.by} {value:g} is below all measured points"
    return _also(need, said, vram=vram, memory=memory, gpus=1, measured=above is not None)


def _also(
    need: Need,
    said: str,
    *,
    vram: int | None = None,
    memory: int | None = None,
    gpus: int = 0,
    measured: bool = False,
) -> Need:
    """With one more piece of evidence: the larger counts, and what is only the least stays so."""
    least = need.vram is not None and not need.measured
    return msgspec.structs.replace(
        need,
        vram=max((v for v in (need.vram, vram) if v is not None), default=None),
        memory=max((m for m in (need.memory, memory) if m is not None), default=None),
        gpus=max(need.gpus, gpus),
        measured=need.measured or (measured and not least),
        evidence=(*need.evidence, said),
    )

"""What a job or a box would cost on every offer of every provider, before anything is paid. It
reads what is kept here; a provider is asked only where it never was, or to refresh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

import msgspec

from devbox.errors import DevboxError, NotFound, NotTrusted
from devbox.model import Offer
from devbox.money import need as needs
from devbox.money import past_runs, prices
from devbox.money.fit import candidates, rank
from devbox.money.need import Need
from devbox.money.past_runs import Estimate, PastRun
from devbox.money.projection import Projection, projected
from devbox.spec import BoxSpec, JobSpec, Spec, choices
from devbox.state.costs import cost
from devbox.workspace import Workspace


class Row(msgspec.Struct, frozen=True):
    """One offer. why_not: '' where it does. total: micro-dollars of the estimated time; None where
    time or price is unknown. ahead: until max_uptime. choice: 1 for what `up` asks for first, 2 for
    what it asks for next, …; 0 for what it does not."""

    offer: Offer
    why_not: str
    estimate: Estimate
    total: int | None
    ahead: Projection
    choice: int = 0


class Storage(msgspec.Struct, frozen=True):
    """weights: bytes of the job's checkpoints whose size is known; unknown: how many tell none.
    volumes: of the box, by name. monthly: micro-dollars that [costs] names for storage."""

    weights: int = 0
    unknown: int = 0
    volumes: tuple[str, ...] = ()
    monthly: int = 0


class Plan(msgspec.Struct, frozen=True):
    """job: '' for a box alone; box: its name, '' where devbox.toml has none for it. items: of the
    inputs, None where nobody says. rows: those that do first, each part cheapest first. failed:
    provider → why it has no offers. asked: provider → when it was, unix seconds. refused: why `up`
    would take none of them."""

    job: str
    box: str
    max_uptime: float
    items: int | None
    need: Need
    rows: list[Row]
    storage: Storage
    failed: dict[str, str]
    asked: dict[str, float]
    refused: str = ""


class Asked(msgspec.Struct, frozen=True):
    """What a plan is for. job: None for the box alone; args, extra: as a run gets them. box: its
    name and its spec, which also says the region, max_uptime and max_price."""

    box: str
    wanted: BoxSpec
    job: JobSpec | None = None
    args: Mapping[str, object] = {}
    extra: Sequence[str] = ()
    items: int | None = None


def plan(ws: Workspace, asked: Asked, providers: Sequence[str], *, refresh: bool = False) -> Plan:
    """What `asked` needs, and what every offer would cost it."""
    wanted, job = asked.wanted, asked.job
    found = prices.answers(ws, wanted, providers, refresh=refresh)
    offers = [offer for answer in found.values() for offer in answer.offers]
    past: list[PastRun] = []
    storage = Storage(volumes=tuple(wanted.volumes), monthly=_monthly(ws.spec))
    need = needs.of_box(wanted)
    if job:
        past = past_runs.of_job(ws.store, job, asked.args, asked.extra)
        storage = _with_weights(storage, ws.spec, job)
        held = past_runs.evidence(past)
        gpus = _gpus(past, offers, found_vram=bool(held.vram))
        need = needs.of_job(job, asked.args, wanted, held, gpus, storage.weights)
    chosen, refused = _chosen(ws, wanted, offers) if asked.box else ({}, "")
    there: dict[str, Need] = {}
    if not job:
        named = [o.hardware for o in offers if (o.provider, o.hardware.name) in chosen]
        need = needs.like(need, named)
        boxes = {name: prices.at_provider(wanted, name) for name in providers}
        there = {name: needs.like(needs.of_box(box), named) for name, box in boxes.items()}
    rows = []
    for offer in offers:
        at = offer.provider, offer.hardware.name
        reads = bool(job and job.inputs)
        guess = past_runs.estimate(past, *at, asked.items, reads=reads)
        total = None if guess.seconds is None else cost(offer.price, guess.seconds)
        ahead = projected(ws.spec.budget, offer.price, wanted.max_uptime)
        why = needs.why_not(there.get(offer.provider, need), offer)
        rows.append(Row(offer, why, guess, total, ahead, chosen.get(at, 0)))
    rows.sort(key=lambda row: (bool(row.why_not), *rank(row.offer), row.offer.provider))
    return Plan(
        job.name if job else "",
        asked.box,
        float(wanted.max_uptime),
        asked.items,
        need,
        rows,
        storage,
        {name: answer.failed for name, answer in found.items() if answer.failed},
        {name: answer.at for name, answer in found.items()},
        refused,
    )


def _gpus(past: Sequence[PastRun], offers: Sequence[Offer], *, found_vram: bool) -> int:
    """The fewest GPUs of the hardware that earlier runs were on; what is not offered any more has
    as many as their VRAM tells."""
    known = {(o.provider, o.hardware.name): o.hardware.gpus for o in offers}
    counts = [known.get((run.provider, run.hardware), int(found_vram)) for run in past]
    return min(counts, default=0)


def _chosen(
    ws: Workspace, wanted: BoxSpec, offers: Sequence[Offer]
) -> tuple[dict[tuple[str, str], int], str]:
    """Provider and hardware → its place among what `up` asks for; why there is none. Only what no
    provider names so has their own modules asked for another name of it: loading them takes time.
    """
    own = {choice.provider for choice in choices(wanted)}
    there = [offer for offer in offers if offer.provider in own]
    if not there:
        return {}, ""
    try:
        try:
            found = candidates(wanted, there)
        except NotFound:
            found = candidates(wanted, there, lambda p, name: ws.provider(p).hardware_name(name))
    except DevboxError as error:
        return {}, error.what
    places = enumerate(found, 1)
    return {(each.offer.provider, each.offer.hardware.name): at for at, each in places}, ""


def _with_weights(storage: Storage, spec: Spec, job: JobSpec) -> Storage:
    known, unknown = 0, 0
    for name in job.checkpoints:
        found = None
        with suppress(NotTrusted):  # why: a plan fetches nothing
            found = spec.checkpoint(name)
        bytes_ = (found.bytes or found.size) if found else None
        known, unknown = known + int(bytes_ or 0), unknown + (bytes_ is None)
    return msgspec.structs.replace(storage, weights=known, unknown=unknown)


def _monthly(spec: Spec) -> int:
    """Storage that the user's config names, a month."""
    paid = (each for each in spec.costs.values() if each.kind == "storage")
    dollars = sum(
        each.monthly if each.monthly is not None else (each.per_gb or 0) * each.size / (1 << 30)
        for each in paid
    )
    return round(dollars * 1_000_000)

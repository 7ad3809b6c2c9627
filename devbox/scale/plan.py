"""What a batch would take with 1, 2, 4, 8 … workers: `simulate` over recorded times and prices."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

import msgspec

from devbox.money import past_runs
from devbox.money.plan import Asked, Plan, Row
from devbox.scale import recorded
from devbox.scale.simulate import Item, World, simulate
from devbox.state import starts
from devbox.state.costs import cost
from devbox.text import duration, size
from devbox.workspace import Workspace

#: Measured on 2026-11-29, as docs/scale.md tells: this computer's own time for a worker and for its
#: rounds, and what passes until a box has a round.
LAPTOP = World(bring=0.25, dispatch=0.06, watch=0.002, trip=0.6)
_FASTER, _DEARER = 0.75, 1.10  # a doubling pays: at most so much of the time and of the money
_ITEMS = 20_000  # that are simulated one by one; of more, several count as one


class Workers(msgspec.Struct, frozen=True):
    """seconds: from asking for the workers to the last result. micro: micro-dollars of all of them,
    None while the price is unknown. limit: what keeps more from being faster."""

    workers: int
    seconds: float
    micro: int | None
    limit: str


class ScalePlan(msgspec.Struct, frozen=True):
    """provider, hardware: of each worker. rows: empty where no time is known. knee: the most
    workers to which each doubling still pays: it takes at most 75 % of the time before, and costs
    at most 10 % more. beyond: it still pays at the last row, so that the knee may be further.
    known, unknown: sentences on what it is reckoned from and what is not in it."""

    provider: str
    hardware: str
    pieces: int
    rows: list[Workers] = []
    knee: int | None = None
    beyond: bool = False
    known: list[str] = []
    unknown: list[str] = []


def plan(
    ws: Workspace, asked: Asked, found: Plan, pieces: Mapping[str, int | None], most: int
) -> ScalePlan | None:
    """With up to `most` workers of what `up` takes first, else of the cheapest that does and whose
    times are known; None where no offer does. pieces: name → bytes, None where not known."""
    if asked.job is None or (row := _worker(found)) is None:
        return None
    offer = row.offer
    at = offer.provider, offer.hardware.name
    past = past_runs.of_job(ws.store, asked.job, asked.args, asked.extra)
    there = [run for run in past if (run.provider, run.hardware) == at]
    times = recorded.times(pieces, there, ws.spec.root / "results", ws.store)
    if times is None:
        why = f"times: no run of {asked.job.name} with these arguments succeeded on {' '.join(at)}"
        return ScalePlan(*at, len(pieces), unknown=[why])
    world, known, unknown = _world(ws, at, times)
    rows = []
    items = _fewer(times.items)
    for workers in _counts(most):
        outcome = simulate(items, workers, world)
        costs = [cost(offer.price, paid) for paid in outcome.paid]
        micro = None if None in costs else sum(each or 0 for each in costs)
        rows.append(Workers(workers, outcome.seconds, micro, outcome.limit))
    if offer.price.micro_per_hour is None:
        unknown.append("cost: the price is unknown")
    if times.items[0].bytes:
        sent = sum(item.bytes for item in times.items)
        unknown.append(f"sending {size(sent)} of input, where it takes longer than the work")
    unknown.append("fetching results, and workers that are lost")
    knee, beyond = _knee(rows)
    return ScalePlan(*at, len(pieces), rows, knee, beyond, known, unknown)


def _worker(found: Plan) -> Row | None:
    """Rows are cheapest first."""
    able = [row for row in found.rows if not row.why_not]
    chosen = sorted((row for row in able if row.choice), key=lambda row: row.choice)
    measured = [row for row in able if row.estimate.per_item is not None]
    return next(iter([*chosen, *measured, *able]), None)


def _world(
    ws: Workspace, at: tuple[str, str], times: recorded.Times
) -> tuple[World, list[str], list[str]]:
    """With what is known of it and what is not, as sentences."""
    known, unknown = [f"times of items: {times.source}"], []
    ups = starts.of(ws.store.database, *at)
    start = statistics.median([up.seconds for up in ups]) if ups else 0.0
    paid = statistics.median([up.paid for up in ups]) if ups else 0.0
    if ups:
        many = f"the median of {len(ups)} starts there" if len(ups) > 1 else "as the one there"
        known.append(f"start of a worker: {duration(start)}, {many}")
    else:
        unknown.append("the start of a worker: no box came up there yet")
    if times.load is not None:
        known.append(f"{duration(times.load)} before its first item, by the same run")
    world = LAPTOP._replace(start=start, billed=min(start, paid), load=times.load or 0.0)
    return world, known, unknown


def _counts(most: int) -> list[int]:
    """1, 2, 4, 8 … and `most`."""
    return [*(1 << at for at in range((most - 1).bit_length())), most]


def _knee(rows: Sequence[Workers]) -> tuple[int, bool]:
    """A doubling of an unknown cost is judged by its time."""
    knee = rows[0]
    for row in rows[1:]:
        if row.workers != 2 * knee.workers:
            return knee.workers, True  # the last one is no doubling
        dearer = (
            row.micro is not None and knee.micro is not None and row.micro > _DEARER * knee.micro
        )
        if row.seconds > _FASTER * knee.seconds or dearer:
            return knee.workers, False
        knee = row
    return knee.workers, True


def _fewer(items: Sequence[Item]) -> list[Item]:
    """Neighbours by weight counted as one, so that a plan is quick."""
    each = -(-len(items) // _ITEMS)
    if each <= 1:
        return [*items]
    ordered = sorted(items, key=lambda item: item.weight)
    groups = [ordered[at : at + each] for at in range(0, len(ordered), each)]
    return [
        Item(
            group[0].name,
            sum(item.weight for item in group),
            sum(item.seconds for item in group),
            sum(item.bytes for item in group),
        )
        for group in groups
    ]

"""What runs cost: the overlap of their attempts with their box's stretches of the ledger."""

from __future__ import annotations

from typing import NamedTuple

from devbox.state.costs import billed_by_sql, whole
from devbox.state.database import Database
from devbox.state.spending import Line


class RunCost(NamedTuple):
    """One run between two times; a batch is one, with the sums of its parts and the name of the
    table that its boxes are copied from. micro: of the time whose price is known, not rounded.
    unknown: seconds at an unknown price. items: how many it finished."""

    id: str
    job: str
    box_id: str
    box_name: str
    started: float
    items: int
    seconds: float
    micro: float
    unknown: float

    @property
    def cost(self) -> int | None:
        return None if self.unknown > 0 else whole(self.micro)


def report(database: Database, by_job: bool, begin: float, stop: float) -> list[Line]:
    """Rows of jobs or of runs, dearest first."""
    found: dict[str, list[RunCost]] = {}
    for run in runs(database, begin, stop):
        found.setdefault(run.job if by_job else run.id, []).append(run)
    lines = [
        Line(
            key,
            sum(run.seconds for run in each),
            whole(sum(run.micro for run in each)),
            sum(run.unknown for run in each),
            len(each),
            sum(run.items for run in each),
        )
        for key, each in found.items()
    ]
    return sorted(lines, key=lambda line: (-line.cost, line.key))


def runs(database: Database, begin: float, stop: float) -> list[RunCost]:
    """The runs that were billed between two times, by when they started."""
    found: dict[str, RunCost] = {}
    for *row, batch, table in database.named(_RUNS, begin=begin, stop=stop):
        run = RunCost(*row)
        if batch:
            run = run._replace(id=batch, box_name=table or run.box_name)
        found[run.id] = _together(found[run.id], run) if run.id in found else run
    return list(found.values())


def _together(first: RunCost, run: RunCost) -> RunCost:
    """Two parts of a batch."""
    return first._replace(
        items=first.items + run.items,
        seconds=first.seconds + run.seconds,
        micro=first.micro + run.micro,
        unknown=first.unknown + run.unknown,
    )


_FROM = "MAX(r.began, :begin)"
_ENDED = "MIN(COALESCE(r.ended, :stop), :stop)"
_OVERLAP = f"MAX(0, MIN(COALESCE(i.end, :stop), {_ENDED}) - MAX(i.start, {_FROM}))"
_BILLED = f"({billed_by_sql(_ENDED, 'i')} - {billed_by_sql(_FROM, 'i')})"
# A retried run is the time of its attempts, without the gaps between them.
_RUNS = f"""
    WITH known AS (
        SELECT id, batch, job, box_id, box_name, started, ended,
               json_valid(CAST(status AS TEXT)) AS valid, CAST(status AS TEXT) AS said
        FROM runs WHERE started IS NOT NULL AND started < :stop
    ), named AS (
        SELECT id, batch, job, box_id, box_name, started, ended,
               CASE WHEN valid THEN json_extract(said, '$.attempts') END AS attempts,
               CASE WHEN valid AND json_type(said, '$.counts.done') = 'integer'
                    THEN json_extract(said, '$.counts.done') ELSE 0 END AS items
        FROM known
    ), r AS (
        SELECT id, batch, job, box_id, box_name, started, items, started AS began, ended FROM named
        WHERE COALESCE(json_array_length(attempts), 0) < 2
        UNION ALL
        SELECT named.id, batch, job, box_id, box_name, started, items,
               json_extract(value, '$.started'), json_extract(value, '$.ended')
        FROM named, json_each(attempts) WHERE json_array_length(attempts) >= 2
    )
    SELECT r.id, r.job, r.box_id, r.box_name, r.started, MAX(0, r.items), SUM({_OVERLAP}),
           COALESCE(SUM({_BILLED} * i.micro_per_hour / 3600.0), 0.0),
           SUM(CASE WHEN i.micro_per_hour IS NULL THEN {_OVERLAP} ELSE 0.0 END),
           r.batch, (SELECT box_name FROM batches b WHERE b.id = r.batch)
    FROM r JOIN intervals i ON i.box_id = r.box_id
        AND i.start < COALESCE(r.ended, :stop) AND COALESCE(i.end, :stop) > r.began
        -- A box's intervals never overlap, so nothing before the one around r.began can count.
        AND i.start >= COALESCE((SELECT MAX(j.start) FROM intervals j
                                 WHERE j.box_id = r.box_id AND j.start <= r.began), r.began)
    WHERE COALESCE(r.ended, :stop) > :begin
    GROUP BY r.id ORDER BY r.started, r.id
"""  # noqa: S608

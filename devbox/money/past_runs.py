"""Earlier runs of a job with the same arguments: what they held, and how long they took where."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence

import msgspec

from devbox.money.sizing import Evidence
from devbox.spec import JobSpec
from devbox.state.store import Store

_LATEST = 500  # runs of one job that are looked at


class PastRun(msgspec.Struct, frozen=True):
    """state, status: as stored. seconds: of all its attempts; items: those it finished. provider,
    hardware: where it ran. batch: the one that it is a part of, or ''. created: when it was asked
    for. sources: input → the file or folder that was sent."""

    id: str
    batch: str
    state: str
    status: bytes
    seconds: float
    items: int
    provider: str
    hardware: str
    created: float = 0.0
    sources: dict[str, str] = {}


class Estimate(msgspec.Struct, frozen=True):
    """seconds: None while nothing is known to reckon from. runs: how many it is from. per_item:
    seconds; None where no run told its items."""

    seconds: float | None = None
    runs: int = 0
    per_item: float | None = None


def of_job(
    store: Store, job: JobSpec, args: Mapping[str, object], extra: Sequence[str]
) -> list[PastRun]:
    """Those of the job as it is now, with these arguments, the newest first."""
    found = []
    for row in store.database.rows(_RUNS, job.name, _LATEST):
        try:
            journalled = json.loads(row["request"])
            request, sources = journalled["request"], journalled.get("sources")
            same = (
                (request.get("args") or {}) == dict(args)
                and request.get("module", "") == job.module
                and tuple(request.get("command") or ()) == job.command
                and tuple(request.get("extra") or ()) == tuple(extra)
            )
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            continue
        if same:
            items, seconds = _work(row["status"])
            whole = max(0.0, (row["ended"] or row["started"]) - row["started"])
            found.append(
                PastRun(
                    row["id"],
                    row["batch"],
                    row["state"],
                    row["status"],
                    whole if seconds is None else seconds,
                    items,
                    row["provider"],
                    row["hardware"],
                    row["created"],
                    sources if isinstance(sources, dict) else {},
                )
            )
    return found


def evidence(runs: Sequence[PastRun]) -> Evidence:
    """What they held at most, by the rules of `sizing`."""
    found = Evidence("", "", "")
    for run in runs:
        found.add(run.state, run.status)
    return found


def estimate(
    runs: Sequence[PastRun], provider: str, hardware: str, items: int | None, *, reads: bool
) -> Estimate:
    """How long it may take on hardware where it succeeded before: the median of the seconds an
    item, for so many items; of whole runs for a job that reads no input. reads: it has inputs."""
    there = [
        run
        for run in runs
        if (run.provider, run.hardware, run.state) == (provider, hardware, "succeeded")
    ]
    rates = [run.seconds / run.items for run in there if run.items > 0]
    per_item = statistics.median(rates) if rates else None
    if per_item is not None and items is not None:
        return Estimate(per_item * items, len(rates), per_item)
    if there and not reads:
        return Estimate(statistics.median(run.seconds for run in there), len(there), per_item)
    return Estimate(None, len(there), per_item)


def _work(status: bytes) -> tuple[int, float | None]:
    """Items finished, and the seconds of the attempts where there were several."""
    try:
        told = json.loads(status)
        done = (told.get("counts") or {}).get("done")
        attempts = told.get("attempts") or []
        items = done if isinstance(done, int) and not isinstance(done, bool) and done > 0 else 0
        if len(attempts) < 2:
            return items, None
        return items, sum(max(0.0, float(a["ended"]) - float(a["started"])) for a in attempts)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return 0, None


_RUNS = """
    SELECT r.id, r.batch, r.state, r.request, r.status, r.created, r.started, r.ended,
           i.provider, i.hardware
    FROM (SELECT * FROM runs WHERE job = ? AND started IS NOT NULL
          ORDER BY created DESC LIMIT ?) r
    JOIN intervals i ON i.box_id = r.box_id
        AND i.start = (SELECT MAX(j.start) FROM intervals j
                       WHERE j.box_id = r.box_id AND j.start <= r.started)
"""

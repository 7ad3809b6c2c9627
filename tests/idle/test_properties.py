"""Laws of the policy over random boxes. Traces are minutes long, so that many fit."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from devbox.box.watchdog.deadline import Moment
from devbox.wire.messages import Policy
from tests.idle.traces import GB, T0, Sample, ceiling, gpu, run, sample

POLICY = Policy(after=120.0, warn=30.0, stuck_after=60.0)
LENGTH = 400
EVERY = 4
LEAVES = ["cpu", "gpus", "ssh", "tty", "requests", "jobs", "net"]
# Kinds of use that one sample shows; cumulative counters are added up in `trace`.
USES = ["cpu", "gpu", "vram", "rx", "tx", "key", "request", "job", "net"]

use_maps = st.dictionaries(
    st.integers(0, LENGTH // EVERY - 1), st.sets(st.sampled_from(USES)), max_size=25
)
SETTINGS = settings(max_examples=40)


def trace(uses: dict[int, set[str]]) -> list[Sample]:
    """A quiet box that shows these uses at these steps."""
    rx = tx = requests = key = 0
    rows = []
    for step in range(LENGTH // EVERY):
        now = uses.get(step, set())
        rx += 700 if "rx" in now else 0
        tx += 9000 if "tx" in now else 0
        requests += "request" in now
        key = step + 1 if "key" in now else key
        rows.append(
            sample(
                cpu={"util": 90 if "cpu" in now else 1, "count": 8},
                gpus=[gpu(70 if "gpu" in now else 0, 9 * GB if "vram" in now else 0)],
                ssh={"sessions": 1, "rx_bytes": rx, "tx_bytes": tx},
                tty={"count": 1, "input_at": float(key)},
                requests=requests,
                jobs=["r1"] if "job" in now else [],
                net={"rx_bps": 9e7 if "net" in now else 0, "tx_bps": 0},
            )
        )
    return rows


def when(rows: list[Any], **more: Any) -> float:
    found = run(POLICY, rows, every=EVERY, **more)
    return float("inf") if found.pauses is None else found.pauses


@given(use_maps, use_maps)
@SETTINGS
def test_more_use_never_pauses_earlier(
    some: dict[int, set[str]], more: dict[int, set[str]]
) -> None:
    both = {step: some.get(step, set()) | more.get(step, set()) for step in {*some, *more}}
    assert when(trace(both)) >= when(trace(some))


@given(use_maps, st.integers(0, 10**6), st.sampled_from([0.02, 0.3, 0.9]))
@SETTINGS
def test_missing_leaves_never_pause_earlier_than_a_quiet_box(
    uses: dict[int, set[str]], seed: int, share: float
) -> None:
    rows: list[Sample | None] = []
    chance = random.Random(seed)
    for row in trace(uses):
        kept = {key: value for key, value in row.items() if chance.random() > share}
        rows.append(None if chance.random() < share / 5 else kept)
    assert when(rows) >= when(trace({}))


@given(use_maps, st.sampled_from(["cpu", "gpus", "ssh", "jobs"]), st.integers(1, 40))
@SETTINGS
def test_a_leaf_that_dies_never_pauses_earlier_than_if_it_had_lived(
    uses: dict[int, set[str]], leaf: str, dies: int
) -> None:
    rows = trace(uses)
    dead = [row if step < dies else {**row, leaf: None} for step, row in enumerate(rows)]
    # What it showed in its last minute may be lost with it, nothing more.
    assert when(dead) >= min(when(rows), when(trace({s: u for s, u in uses.items() if s < dies})))


@given(use_maps, st.floats(20, 380), st.floats(0, 3000))
@SETTINGS
def test_the_deadline_always_holds(uses: dict[int, set[str]], end: float, hold: float) -> None:
    due = when(trace(uses), ceiling=ceiling(end), hold=hold)
    assert due <= end + EVERY


@given(
    use_maps,
    st.floats(60, 380),
    st.lists(st.tuples(st.integers(0, 99), st.floats(-90000, 90000)), max_size=4),
)
@SETTINGS
def test_no_clock_moves_the_deadline_out(
    uses: dict[int, set[str]], end: float, jumps: list[tuple[int, float]]
) -> None:
    def clock(second: int) -> Moment:
        moved = sum(by for step, by in jumps if second >= step * EVERY)
        return Moment(T0 + second + moved, 1000.0 + second)

    assert when(trace(uses), ceiling=ceiling(end), clock=clock) <= end + EVERY


@given(use_maps, st.floats(0, 3000), st.floats(0, 3000))
@SETTINGS
def test_keep_never_shortens(uses: dict[int, set[str]], one: float, other: float) -> None:
    rows = trace(uses)
    assert when(rows, hold=max(one, other)) >= when(rows, hold=min(one, other)) >= when(rows)


@given(use_maps)
@SETTINGS
def test_it_warns_before_it_pauses_and_says_why(uses: dict[int, set[str]]) -> None:
    found = run(POLICY, trace(uses), every=EVERY)
    if found.pauses is None:
        return
    states = [verdict.state for _, verdict in found.verdicts]
    assert states[-2] == "warned"
    assert all(verdict.reasons for _, verdict in found.verdicts)
    assert found.verdicts[-1][1].idle_for >= POLICY.after

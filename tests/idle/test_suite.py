"""The idle policy suite: ten kinds of box, each over hours and by chance, with the verdict that is
right for it. No pause comes while the box is in use, and none more than a minute late.

The models are stated beside each kind. Only VS Code's numbers are from outside: a keep-alive of
13 bytes on two connections each five seconds (ProtocolConstants.KeepAliveSendTime), with ssh's
framing.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devbox.wire.messages import Policy
from tests.idle.traces import EVERY, GB, HOUR, MINUTE, Sample, ceiling, gpu, run, sample

AFTER = 15 * MINUTE
POLICY = Policy(after=AFTER, warn=5 * MINUTE, stuck_after=30 * MINUTE)
LATE = 60


class Trace(NamedTuple):
    """make: second → sample. used: the second of the last use; None for a box that is not to pause
    within `length` seconds."""

    make: Callable[[int], Sample | None]
    used: int | None
    length: int = int(2.5 * HOUR)


def training_at_low_use(chance: Random) -> Trace:
    """A small model: 3 to 12 % of the GPU, beside one busy core, until it ends."""
    end = chance.randrange(HOUR // 2, 2 * HOUR, EVERY)
    row = sample(gpus=[gpu(0, 0)])

    def make(second: int) -> Sample:
        if second >= end:
            return row
        return sample(
            cpu={"util": chance.uniform(12, 25), "count": 8},
            gpus=[gpu(chance.uniform(3, 12), 3 * GB)],
        )

    return Trace(make, end)


def data_loading(chance: Random) -> Trace:
    """Workers that unpack for most of each epoch; the GPU waits, and is used for a minute or so."""
    end, epoch = (
        chance.randrange(HOUR // 2, 2 * HOUR, EVERY),
        chance.randrange(8 * MINUTE, 14 * MINUTE),
    )
    cores = chance.choice((2, 4, 8, 32))

    def make(second: int) -> Sample:
        if second >= end:
            return sample()
        computes = second % epoch > epoch - MINUTE
        busy = 100 * chance.uniform(1.0, 2.0) / cores
        return sample(
            cpu={"util": 5 if computes else min(100, busy), "count": cores},
            gpus=[gpu(80 if computes else 0, 2 * GB)],
        )

    return Trace(make, end)


def interactive_typing(chance: Random) -> Trace:
    """A few words, 25 to 50 keys (52 bytes each on the wire), and thought for up to ten minutes
    between them: log-normal, half a minute in the median."""
    at, keys = 0.0, [0.0]
    end = chance.randrange(HOUR // 2, int(1.5 * HOUR))
    while at < end:
        at += min(10 * MINUTE, chance.lognormvariate(3.4, 1.2))
        keys += [at + each * 0.2 for each in range(chance.randint(25, 50))]
    stamps = sorted({int(key) for key in keys})
    counts = {stamp: sum(1 for key in keys if int(key) == stamp) for stamp in stamps}
    typed, total = [0] * (3 * HOUR + 1), 0
    for second in range(3 * HOUR + 1):
        total += counts.get(second, 0)
        typed[second] = total * 52

    def make(second: int) -> Sample:
        bytes_ = typed[second]
        return sample(ssh={"sessions": 1, "rx_bytes": bytes_, "tx_bytes": bytes_})

    return Trace(make, stamps[-1])


def editor_left_open(chance: Random) -> Trace:
    """VS Code's keep-alives, and an extension that asks for 100 bytes every minute."""
    size = chance.randint(19, 60)

    def make(second: int) -> Sample:
        sent = size * (second // 5 + (second + 2) // 5) + 100 * (second // MINUTE)
        return sample(ssh={"sessions": 2, "rx_bytes": sent, "tx_bytes": sent})

    return Trace(make, 0)


def stuck_process(chance: Random) -> Trace:
    """A kernel that keeps its model after the last cell has run."""
    end = chance.randrange(MINUTE, HOUR, EVERY)
    held = chance.uniform(1, 22) * GB

    def make(second: int) -> Sample:
        return sample(gpus=[gpu(60 if second < end else 0, held)])

    return Trace(make, end + int(POLICY.stuck_after))


def download(chance: Random) -> Trace:
    """Weights at 9 to 60 MB/s, which stall for up to a minute, and use nothing else."""
    end = chance.randrange(HOUR // 2, 2 * HOUR, EVERY)

    def make(second: int) -> Sample:
        stalls = second % (10 * MINUTE) < MINUTE
        rate = chance.uniform(9e6, 6e7) if second < end and not stalls else 2e3
        return sample(net={"rx_bps": rate, "tx_bps": rate / 40})

    return Trace(make, end)


def sparse_requests(chance: Random) -> Trace:
    """A service that holds its model, asked every few minutes, and then by nobody."""
    at, asked = 0.0, []
    while at < HOUR:
        at += chance.uniform(MINUTE, AFTER - MINUTE)
        asked.append(at)

    def make(second: int) -> Sample:
        taken = bisect.bisect_right(asked, second)
        return sample(requests=taken, in_flight=0, gpus=[gpu(0, 20 * GB)])

    return Trace(make, int(asked[-1]))


def telemetry_loss(chance: Random) -> Trace:
    """Work, and then a driver, a counter or the whole sampler that tells no more."""
    end = chance.randrange(5 * MINUTE, HOUR, EVERY)
    lost = chance.choice(("gpus", "cpu", "ssh", "jobs", "all"))

    def make(second: int) -> Sample | None:
        if second < end:
            return sample(gpus=[gpu(90, 9 * GB)])
        return None if lost == "all" else sample(**{lost: None})

    return Trace(make, None)


def unified_memory(chance: Random) -> Trace:
    """A GPU without memory of its own: a process works, and then only holds what it has."""
    end = chance.randrange(10 * MINUTE, HOUR, EVERY)
    held = chance.uniform(2, 90) * GB

    def make(second: int) -> Sample:
        rows = [{"pid": 7, "name": "python", "mem_used": held}]
        row = gpu(40 if second < end else 0, None, mem_total=None, processes=rows)
        return sample(gpus=[row])

    return Trace(make, end + int(POLICY.stuck_after))


def lost_gpu(chance: Random) -> Trace:
    """It falls off the bus in the middle of the work, and is shown as lost, or no more."""
    end = chance.randrange(10 * MINUTE, 2 * HOUR, EVERY)
    gone = {"util": None, "mem_used": None, "mem_total": None, "processes": None, "lost": True}
    left = chance.choice(([], [gpu() | gone], [gpu() | gone | {"uuid": None}]))

    def make(second: int) -> Sample:
        return sample(gpus=[gpu(95, 20 * GB)] if second < end else left)

    return Trace(make, end)


KINDS = {
    each.__name__: each
    for each in (
        *(training_at_low_use, data_loading, interactive_typing, editor_left_open, stuck_process),
        *(download, sparse_requests, telemetry_loss, unified_memory, lost_gpu),
    )
}


@pytest.mark.parametrize("name", KINDS)
@given(seed=st.integers(0, 2**32))
@settings(max_examples=3)
def test_no_pause_is_wrong_and_none_is_late(name: str, seed: int) -> None:
    trace = KINDS[name](Random(seed))
    found = run(POLICY, map(trace.make, range(0, trace.length, EVERY)))
    if trace.used is None:
        assert found.pauses is None
        return
    assert found.pauses is not None, "it was never paused"
    assert trace.used + AFTER - 2 * EVERY <= found.pauses <= trace.used + AFTER + LATE + EVERY


@given(seed=st.integers(0, 2**32))
@settings(max_examples=3)
def test_a_box_that_tells_nothing_ends_at_its_max_uptime(seed: int) -> None:
    trace = telemetry_loss(Random(seed))
    rows = map(trace.make, range(0, trace.length, EVERY))
    found = run(POLICY, rows, ceiling=ceiling(2 * HOUR))
    assert found.pauses == pytest.approx(2 * HOUR - 30, abs=EVERY)

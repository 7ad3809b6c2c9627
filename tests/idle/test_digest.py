"""The half-minute's digest of what the box did."""

from __future__ import annotations

from typing import Any

import pytest

from devbox.box.watchdog import policy as idle
from devbox.box.watchdog.deadline import Moment
from devbox.box.watchdog.digest import EVERY, Digests, folded
from devbox.wire.messages import Policy
from tests.idle.traces import GB, T0, gpu, sample
from tests.idle.world import Parts

VERDICT = idle.judge(Policy(), idle.begin(Moment(T0, 0.0)), Moment(T0, 0.0))


def row(second: float, **parts: Any) -> dict[str, Any]:
    return {"v": 1, "boot": "b", "seq": int(second), "t": T0 + second, **sample(**parts)}


def test_loads_are_averaged_and_the_most_of_a_gpu_is_kept() -> None:
    found = folded(
        [
            row(0, cpu={"util": 10.0, "count": 8}, jobs=["r2"], in_flight=3, gpus=[gpu(97, GB)]),
            row(1, cpu={"util": None, "count": 8}, jobs=None, mem={"used": 9 * GB, "total": 16}),
            row(2, cpu={"util": 50.0, "count": 8}, jobs=["r1"], requests=7, waiting=["r3"]),
        ]
    )
    assert found["cpu"] == {"util": 30.0, "count": 8}
    assert found["mem"] == {"used": 9 * GB}
    assert found["net"] == {"rx_bps": 800.0, "tx_bps": 900.0}
    assert (found["jobs"], found["waiting"]) == (["r1", "r2"], ["r3"])
    assert (found["requests"], found["in_flight"], found["t"]) == (7, 3, T0 + 2)
    assert found["gpus"] == [
        {
            "index": 0,
            "uuid": "GPU-0",
            "name": None,
            "lost": None,
            "mem_total": 24 * GB,
            "processes": [],
            "util": 97.0,
            "mem_used": GB,
        }
    ]


@pytest.mark.parametrize("gpus", [None, [], [gpu(None, None)]])
def test_what_was_not_measured_is_not_made_up(gpus: Any) -> None:
    bare = {"v": 1, "boot": "b", "seq": 1, "t": T0, "gpus": gpus}
    found = folded([bare, bare])
    assert found["cpu"] == {"util": None}
    assert (found["jobs"], found["in_flight"], found["ssh"]) == (None, None, None)
    read = found["gpus"]
    if gpus:
        assert isinstance(read, list)
        assert (read[0]["util"], read[0]["mem_used"]) == (None, None)
    else:
        assert read == gpus


def test_a_gpu_that_is_listed_late_is_its_own() -> None:
    late = [gpu(1), gpu(50, index=1, uuid="GPU-1")]
    found = folded([row(0, gpus=None), row(1, gpus=[gpu(90)]), row(2, gpus=late)])["gpus"]
    assert isinstance(found, list)
    assert [(each["uuid"], each["util"]) for each in found] == [("GPU-0", 90.0), ("GPU-1", 50.0)]


def test_one_is_stored_every_half_minute_and_says_for_how_long_it_stands() -> None:
    kept = Parts()
    digests = Digests(kept)
    for second in range(61):
        digests.add(row(second), VERDICT)
    digests.add(row(-9000), VERDICT)  # the wall clock was turned back
    assert [(each["t"] - T0, each["use"]["seconds"]) for each in kept.kept] == [
        (29, EVERY),
        (59, EVERY),
        (-9000, 1),
    ]
    digests.close()
    assert kept.closed


def test_nothing_is_noted_without_a_verdict_and_a_full_disk_is_told() -> None:
    kept = Parts()
    digests = Digests(kept)
    for second in range(120):
        digests.add(row(second), None)
    assert kept.kept == []
    kept.full = True
    for second in range(29):
        digests.add(row(second), VERDICT)
    with pytest.raises(OSError, match="disk"):
        digests.add(row(29), VERDICT)

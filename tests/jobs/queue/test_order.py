"""Who is next in the queue of a box: priority, age, what is kept for those in front, who passes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devbox.box.probes.gpu import Process, Row
from devbox.box.runs.devices import Device, environment, usable
from devbox.box.runs.order import PASS, Entry, Verdict, judge

GB = 1 << 30


def gpus(count: int, **used: int) -> list[Device]:
    return [Device(f"G{n}", f"GPU {n}", used.get(f"G{n}", 0)) for n in range(count)]


def entry(since: float = 0.0, **fields: Any) -> Entry:
    return Entry(None, since, **fields)


def verdicts(
    waiting: dict[str, Entry], holding: dict[str, Entry], devices: list[Device], now: float = 100.0
) -> dict[str, Verdict]:
    return {name: judge(name, waiting, holding, devices, now) for name in waiting}


def begins(*args: Any, **more: Any) -> list[str]:
    return [name for name, each in verdicts(*args, **more).items() if each.begins]


def test_the_older_one_is_first_and_a_higher_priority_before_it() -> None:
    old, young, urgent = entry(1, gpus=1), entry(2, gpus=1), entry(3, gpus=1, priority=10)
    assert begins({"young": young, "old": old}, {}, gpus(1)) == ["old"]
    found = verdicts({"old": old, "young": young, "urgent": urgent}, {}, gpus(1))
    assert [name for name, each in found.items() if each.begins] == ["urgent"]
    assert [each.queue.place for each in found.values() if not each.begins] == [2, 3]


def test_those_that_begin_together_get_different_gpus() -> None:
    found = verdicts({"a": entry(1, gpus=2), "b": entry(2, gpus=1)}, {}, gpus(3))
    assert (found["a"].gpus, found["b"].gpus) == (("G0", "G1"), ("G2",))


def test_a_large_one_is_not_overtaken_by_small_ones_without_a_timeout() -> None:
    holding = {"x": entry(gpus=2, holds=("G0", "G1"))}
    waiting = {"large": entry(1, gpus=4), "small": entry(2, gpus=1)}
    found = verdicts(waiting, holding, gpus(4))
    assert [each.begins for each in found.values()] == [False, False]
    assert found["large"].queue.why == "waits for 4 GPUs, 2 free: held by x"
    assert found["small"].queue.why == "waits for its turn, after large"


@pytest.mark.parametrize(
    ("lasts", "passes"), [(PASS - 99, True), (PASS - 98, False), (None, False)]
)
def test_a_small_one_passes_when_it_is_over_in_time(lasts: float | None, passes: bool) -> None:
    """The large one was queued at 1; it is 100 now."""
    holding = {"x": entry(gpus=2, holds=("G0", "G1"))}
    waiting = {"large": entry(1, gpus=4), "small": entry(2, gpus=1, lasts=lasts)}
    assert begins(waiting, holding, gpus(4)) == (["small"] if passes else [])


def test_one_that_waits_for_another_run_keeps_nothing_from_those_behind_it() -> None:
    waiting = {"later": entry(1, gpus=1, ready=False), "now": entry(2, gpus=1)}
    assert judge("now", waiting, {}, gpus(1), 100.0).gpus == ("G0",)


def test_what_asks_for_a_gpu_that_was_lost_holds_nobody_back() -> None:
    waiting = {"large": entry(1, gpus=4), "small": entry(2, gpus=1)}
    found = verdicts(waiting, {}, gpus(3))
    assert found["small"].begins
    assert found["large"].queue.why == "waits for 4 GPUs: the box can give 3 now"


def test_a_gpu_that_other_programs_use_is_not_given() -> None:
    found = judge("a", {"a": entry(1, gpus=1)}, {}, gpus(2, G0=2 * GB), 100.0)
    assert found.gpus == ("G1",)
    found = judge("a", {"a": entry(1, gpus=2)}, {}, gpus(2, G0=2 * GB), 100.0)
    assert found.queue.waits_for == "programs"
    assert found.queue.why == "waits for 2 GPUs: other programs use GPU 0 (2.1 GB)"
    assert judge("a", {"a": entry(1, gpus=1)}, {}, gpus(1, G0=GB), 100.0).begins, "a little is free"


def test_no_more_runs_than_the_box_may_have_at_once() -> None:
    holding = {"x": entry(max_runs=2)}
    waiting = {name: entry(n, max_runs=2) for n, name in enumerate("abc")}
    assert begins(waiting, holding, []) == ["a"]
    holding["a"] = waiting.pop("a")
    found = verdicts(waiting, holding, [])
    assert found["b"].queue.why == "waits for a place (max_runs = 2): a, x run"
    assert found["c"].queue.place == 2


def test_a_later_one_with_a_higher_limit_does_not_take_the_place_of_the_next() -> None:
    waiting = {"a": entry(1, max_runs=1), "b": entry(2, max_runs=2)}
    assert begins(waiting, {}, []) == ["a"]
    assert begins({"b": waiting["b"]}, {"a": waiting["a"]}, []) == ["b"]


def test_what_has_no_limit_takes_no_place() -> None:
    assert begins({"a": entry(1), "b": entry(2, max_runs=1)}, {"x": entry(gpus=1)}, []) == [
        "a",
        "b",
    ]


_entries = st.builds(
    entry,
    since=st.integers(0, 50),
    priority=st.integers(-2, 2),
    gpus=st.integers(0, 5),
    max_runs=st.none() | st.integers(1, 4),
    lasts=st.none() | st.integers(1, int(2 * PASS)),
    ready=st.booleans(),
)


@given(st.lists(_entries, min_size=1, max_size=12), st.integers(0, 6), st.integers(0, 3))
def test_begun_in_any_order_no_gpu_is_given_twice_and_all_end(
    made: list[Entry], count: int, used: int
) -> None:
    """Each is asked in turn, and what begins ends when nobody begins any more."""
    devices = [
        each._replace(used=4 * GB) if n < used else each for n, each in enumerate(gpus(count))
    ]
    waiting = {f"r{n}": each for n, each in enumerate(made) if each.ready}
    holding: dict[str, Entry] = {}
    while waiting:
        begun = 0
        for name in sorted(waiting):
            found = judge(name, waiting, holding, devices, 100.0)
            if not found.begins:
                assert found.queue.why
                continue
            mine = waiting.pop(name)
            assert len(found.gpus) == mine.gpus
            holding[name] = mine._replace(holds=found.gpus)
            given_ = [gpu for each in holding.values() for gpu in each.holds]
            assert len(given_) == len(set(given_))
            assert not {f"G{n}" for n in range(used)} & set(given_)
            limited = [each for each in holding.values() if each.max_runs is not None]
            assert mine.max_runs is None or len(limited) <= mine.max_runs
            begun += 1
        if not begun and not holding:
            break
        if not begun:
            holding.clear()
    free = max(0, count - used)
    assert all(each.gpus > free for each in waiting.values()) or _first_waits(waiting, free)


def _first_waits(waiting: dict[str, Entry], free: int) -> bool:
    """What is left stands behind one that waits for GPUs which other programs use."""
    first = min(waiting, key=lambda name: (-waiting[name].priority, waiting[name].since, name))
    return waiting[first].gpus > free


@given(st.lists(_entries, min_size=2, max_size=10), st.integers(1, 4))
def test_nobody_is_held_up_beyond_the_bound_by_those_that_pass(
    made: list[Entry], count: int
) -> None:
    """Whoever begins before one in front of it that fits the box is over in time for that one."""
    waiting = {f"r{n}": each._replace(ready=True) for n, each in enumerate(made)}
    holding = {"x": entry(gpus=1, holds=("G0",))}
    found = verdicts(waiting, holding, gpus(count))
    line = sorted(waiting, key=lambda name: (-waiting[name].priority, waiting[name].since, name))
    for at, name in enumerate(line):
        mine, taken = waiting[name], holding["x"].gpus
        if not found[name].begins or not mine.gpus:
            continue
        taken += sum(waiting[each].gpus for each in line[:at])
        if taken + mine.gpus > count and mine.lasts is None:
            lost = [each for each in line[:at] if waiting[each].gpus > count]
            assert taken + mine.gpus - sum(waiting[each].gpus for each in lost) <= count
        blocked = [waiting[each] for each in line[:at] if not found[each].begins]
        if taken + mine.gpus > count and mine.lasts is not None:
            fits = [each for each in blocked if each.gpus <= count]
            needed = taken + mine.gpus - sum(e.gpus for e in blocked if e.gpus > count) > count
            assert not needed or all(100.0 + mine.lasts <= each.since + PASS for each in fits)


ROWS: list[Row] = [
    {"index": 0, "uuid": "GPU-aa", "mem_used": 5, "mig": False, "lost": False},
    {"index": 1, "uuid": "GPU-ab", "mem_used": None, "mig": False, "lost": False},
    {"index": 2, "uuid": None, "mem_used": 7, "mig": None, "lost": False},
    {"index": 3, "uuid": "GPU-d", "mem_used": 5, "mig": True, "lost": False},
    {"index": 4, "uuid": "GPU-e", "mem_used": None, "mig": False, "lost": True},
]


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        (None, ["GPU-aa", "GPU-ab", "2"]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("1,0", ["GPU-ab", "GPU-aa"]),
        ("1, 1,0", ["GPU-ab", "GPU-aa"]),
        ("0,9,1", ["GPU-aa"]),
        ("GPU-ab", ["GPU-ab"]),
        ("GPU-a", []),
        ("MIG-1,MIG-2", ["MIG-1", "MIG-2"]),
        ("3", []),
        ("4", []),
    ],
)
def test_which_gpus_a_box_can_give(visible: str | None, names: list[str]) -> None:
    assert [each.name for each in usable(ROWS, visible)] == names


def test_memory_that_the_driver_does_not_tell_is_that_of_its_processes() -> None:
    told: Process = {"pid": 5, "name": "x", "mem_used": 3 * GB}
    untold: Process = {"pid": 6, "name": "y", "mem_used": None}
    row: Row = {"index": 0, "uuid": "GPU-a", "processes": [told, untold]}
    assert usable([row])[0].used == 3 * GB
    row["processes"] = []
    assert usable([row])[0].used is None
    assert not usable([row])[0].is_used


def test_an_index_is_that_of_the_bus() -> None:
    assert environment(["GPU-a", "GPU-b"]) == {"CUDA_VISIBLE_DEVICES": "GPU-a,GPU-b"}
    assert environment(["2"]) == {"CUDA_VISIBLE_DEVICES": "2", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert environment([]) == {}

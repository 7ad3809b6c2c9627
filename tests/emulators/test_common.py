"""The parts that the emulators share."""

from __future__ import annotations

import asyncio
import subprocess
import time
from pathlib import Path

import pytest

from tests.emulators.common import Box, Clock, Fault, FaultKind, Knobs, LoopThread, Meter


def test_advance_fires_timers_in_order_and_at_their_own_moment() -> None:
    clock = Clock.manual(1000.0)
    seen: list[tuple[str, float]] = []

    async def arm() -> None:
        def first() -> None:
            seen.append(("first", clock.now()))
            clock.call_at(clock.now() + 5, lambda: seen.append(("second", clock.now())))

        clock.call_at(1010.0, first)
        clock.call_at(1040.0, lambda: seen.append(("late", clock.now())))

    thread = LoopThread("clock")
    try:
        thread.run(arm())
        assert clock.advance(20) == 1020.0
        assert seen == [("first", 1010.0), ("second", 1015.0)]
        assert clock.now() == 1020.0
    finally:
        thread.stop()


def test_cancelled_timer_stays_silent() -> None:
    clock = Clock.manual()
    fired: list[int] = []

    async def arm() -> None:
        clock.call_at(clock.now() + 1, lambda: fired.append(1)).cancel()

    thread = LoopThread("clock")
    try:
        thread.run(arm())
        clock.advance(5)
        assert fired == []
    finally:
        thread.stop()


async def test_sleep_follows_the_speed() -> None:
    clock = Clock(speed=1000.0)
    before = time.monotonic()
    await asyncio.wait_for(clock.sleep(100.0), timeout=5)
    assert time.monotonic() - before < 5


async def test_a_running_clock_can_also_be_moved_ahead() -> None:
    clock = Clock()
    nap = asyncio.create_task(clock.sleep(3600.0))
    await asyncio.sleep(0)
    clock.advance(3599.9)
    assert not nap.done()
    await asyncio.wait_for(nap, timeout=5)


def test_knobs_are_used_up_in_order_and_the_wildcard_comes_last() -> None:
    knobs = Knobs()
    knobs.set("pause", Fault.server_error(), times=2)
    knobs.set("pause", Fault.rate_limited(3))
    knobs.set("*", Fault.unauthorized(), times=None)
    taken = [knobs.take_transport("pause") for _ in range(5)]
    assert [fault.status for fault in taken if fault] == [503, 503, 429, 401, 401]
    knobs.clear()
    assert knobs.take_transport("pause") is None


def test_behaviour_faults_are_taken_only_by_kind() -> None:
    knobs = Knobs()
    knobs.set("pause", Fault.stop_ignored())
    assert knobs.take_transport("pause") is None
    assert knobs.take("pause", FaultKind.STOP_IGNORED) == Fault.stop_ignored()
    assert knobs.armed() == {}


def test_meter_bills_each_stretch_at_its_own_rate() -> None:
    clock = Clock.manual(0.0)
    meter = Meter(clock)
    meter.start("box", 100.0, "t4-small")
    clock.advance(10)
    meter.start("box", 100.0, "t4-small")
    clock.advance(10)
    meter.start("box", 200.0, "a10g-small")
    clock.advance(5)
    assert meter.billing() == ["box"]
    meter.stop("box")
    clock.advance(1000)
    assert meter.total("box") == 3000
    assert meter.total("box", now=15.0) == 1500
    assert [(each.what, each.start, each.end) for each in meter.intervals("box")] == [
        ("t4-small", 0.0, 20.0),
        ("a10g-small", 20.0, 25.0),
    ]
    assert meter.billing() == []


@pytest.mark.parametrize("launch", ["sleep 300", "setsid nohup sleep 300 >/dev/null 2>&1 &"])
def test_kill_reaches_processes_that_left_their_session(tmp_path: Path, launch: str) -> None:
    box = Box(tmp_path / "box")
    shell = subprocess.Popen(
        ["/bin/bash", "-c", launch], env=box.environment(), start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not any(p.name() == "sleep" for p in box.processes()):
        assert time.monotonic() < deadline
    assert box.kill() >= 1
    assert box.processes() == []
    shell.wait(60)

"""Whatever one of the watchdog's parts meets, the loop continues, and max_uptime holds."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from devbox.box import event_log, paths, processes
from devbox.box.watchdog import agent as agent_module
from devbox.box.watchdog import policy
from devbox.box.watchdog.agent import Agent
from devbox.box.watchdog.digest import Digests
from tests.idle.traces import HOUR, MINUTE, T0, gpu, sample
from tests.idle.world import Parts, World
from tests.jobs.conftest import until


def _boom() -> Any:
    raise RuntimeError("NVML fell over")


@pytest.mark.parametrize(
    "broken", [_boom, lambda: None, lambda: {"cpu": 1, "gpus": [{"util": []}]}]
)
def test_a_broken_sampler_neither_pauses_early_nor_outlives_the_ceiling(
    broken: Callable[[], Any],
) -> None:
    world = World(deadline=T0 + 2 * HOUR)
    world.live(60)
    world.parts.sample_now = broken
    world.live(100 * MINUTE)
    assert not world.pause_file.exists()
    assert "warning" not in world.kinds()
    world.live(20 * MINUTE)
    world.until_event("paused")
    assert world.pause_file.exists()


def test_a_fault_is_told_once_in_ten_minutes() -> None:
    world = World()
    world.parts.sample_now = _boom
    world.live(9 * MINUTE)
    faults = [e for e in event_log.read(world.root) if e.kind == "fault"]
    assert [fault.message for fault in faults] == ["sampling: RuntimeError: NVML fell over"]


def test_a_full_disk_does_not_stop_the_watchdog(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(deadline=T0 + HOUR)
    world.live(10)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("devbox.box.json_file.write", full)
    monkeypatch.setattr("devbox.box.event_log.append", full)
    world.parts.full = True
    world.live(HOUR - 20)
    pause = world.pause_file

    def paused() -> bool:
        world.live(0.01, step=0.01)
        return pause.exists()

    until(paused)


def test_a_sampler_that_cannot_be_made_is_tried_again() -> None:
    world = World()

    def fails() -> Parts:
        world.parts.made += 1
        raise RuntimeError("no driver")

    world.agent = Agent(world.root, fails, world.parts)
    world.live(3 * MINUTE)
    assert world.parts.made == 3


def test_a_sample_that_the_policy_cannot_take_counts_as_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(deadline=T0 + HOUR)
    world.parts.sample_now = lambda: sample(gpus=[])
    world.live(60, step=5)
    observe = policy.observe

    def fails(given: Any, state: Any, one: Any, now: Any, **more: Any) -> Any:
        if one is not None:
            raise OverflowError("a value nobody thought of")
        return observe(given, state, one, now, **more)

    monkeypatch.setattr(policy, "observe", fails)
    world.live(40 * MINUTE)
    assert "silence is not idleness" in " ".join(world.verdict()["reasons"])
    assert {(event.kind, event.message) for event in event_log.read(world.root)} == {
        ("fault", "the sample: OverflowError: a value nobody thought of")
    }
    world.live(20 * MINUTE)
    world.until_event("paused")
    assert world.pause_file.exists()


def test_before_any_orders_it_samples_and_tells_what_gpus_meet() -> None:
    parts, root = Parts(), paths.root()
    digests = Parts()
    world = World()
    (root / "config.json").unlink()
    world.agent = Agent(root, parts.make, parts, digests=Digests(digests))
    parts.sample_now = lambda: sample(gpus=[gpu(lost=True)])
    world.live(60, step=5)
    assert len(parts.kept) == 12
    assert digests.kept == [], "without a verdict that time is unknown"
    assert world.kinds() == ["gpu-lost"]
    assert not (root / "verdict.json").exists()
    world.arm()
    world.live(60, step=5)
    assert world.verdict()["state"] == "active"
    assert [each["use"]["state"] for each in digests.kept] == ["active"]


def test_a_gpu_that_is_lost_is_told_once() -> None:
    world = World()
    world.live(5)
    world.parts.sample_now = lambda: sample(gpus=[gpu(lost=True)])
    world.live(60, step=5)
    assert world.kinds() == ["gpu-lost"]


def test_a_system_that_does_not_tell_who_we_are_leaves_the_box_watched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(processes, "identity", lambda _: None)
    world = World()
    world.live(1)
    assert world.verdict()["state"] == "active"
    assert not (world.root / "agent.json").exists()


def test_an_agent_that_is_asked_to_end_closes_what_it_has_open() -> None:
    world, digests = World(), Parts()
    never = Agent(world.root, world.parts.make, world.parts, digests=Digests(digests))
    never.close()
    assert digests.closed
    assert world.parts.closed
    assert world.parts.made == 0
    world.parts.closed, sampler = False, Parts()
    world.agent = Agent(world.root, sampler.make, world.parts)
    world.live(1)
    world.agent.close()
    assert sampler.closed
    assert world.parts.closed


def test_a_log_that_has_grown_too_long_begins_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_module, "_LOG_MOST", 100)
    world, before = World(), os.dup(2)
    with open(tmp_path / "agent.log", "ab", buffering=0) as log:
        os.dup2(log.fileno(), 2)  # as `arm` starts an agent
        try:
            log.write(b"x" * 101)
            world.live(1)
            assert os.fstat(2).st_size == 0
            log.write(b"x" * 100)
            world.live(10)
        finally:
            os.dup2(before, 2)
            os.close(before)
    assert (tmp_path / "agent.log").read_bytes() == b"x" * 100


def test_a_volume_that_hangs_does_not_keep_the_box_unwatched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    saved = Path.home() / "data" / "devbox-saved" / "gpu1"
    saved.mkdir(parents=True)
    os.mkfifo(saved / "latest.json")  # opening it waits for a writer
    monkeypatch.setattr(agent_module, "_TELLING", 0.1)
    world = World(volumes=[str(Path.home() / "data")], disk_kept=False)
    try:
        world.live(1)
    finally:
        os.close(os.open(saved / "latest.json", os.O_RDWR))
    assert json.loads((world.root / "agent.json").read_text())["pid"] == os.getpid()
    assert world.verdict()["state"] == "active"

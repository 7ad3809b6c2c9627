"""The agent's second by second work, with a clock, a sampler and a disk of our own."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from devbox.box import event_log, processes
from devbox.box.runs import folder
from devbox.box.watchdog import config
from devbox.box.watchdog.deadline import Moment
from devbox.wire.jobs import JobStatus
from devbox.wire.messages import Identity
from tests.idle.traces import HOUR, MINUTE, T0, sample
from tests.idle.world import ORDERS, World


def test_it_samples_every_second_and_judges_every_five() -> None:
    world = World()
    world.live(11)
    assert len(world.parts.kept) == 11
    assert world.parts.kept[-1]["tty"] is None
    assert world.verdict()["now"] == T0 + 11
    world.live(3)
    assert world.verdict()["now"] == T0 + 11


def test_an_idle_box_asks_its_provider_to_pause() -> None:
    world = World(policy={**ORDERS["policy"], "save_command": ["touch", "../saved"]})
    (Path.home() / "work").mkdir()
    (Path.home() / "work" / "model.pt").write_bytes(b"x" * 2048)
    world.live(30 * MINUTE + 5)
    world.until_event("paused")
    assert world.pause_file.exists()
    assert (Path.home() / "saved").exists()
    assert world.kinds() == ["warning", "saving", "saved", "pausing", "paused"]
    assert event_log.read(world.root)[-1].message == "paused with 1 unsynced file (2.0 KB)"


def test_orders_that_change_are_heeded_and_begin_afresh() -> None:
    world = World()
    world.live(29 * MINUTE)
    assert world.verdict()["state"] == "warned"
    world.arm(policy={"after": 600, "warn": 60})
    world.live(9 * MINUTE)
    assert world.verdict()["state"] == "idle"
    assert world.verdict()["idle_for"] < 10 * MINUTE
    world.live(30)
    assert world.verdict()["state"] == "warned"
    assert json.loads((world.root / "agent.json").read_text())["pid"] == os.getpid()


def test_orders_that_come_while_others_are_read_are_heeded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A box that starts takes its first orders just when `up` arms it."""
    world = World()
    read = config.read

    def overtaken(root: Path, now: Moment) -> Any:
        found = read(root, now)
        monkeypatch.setattr(config, "read", read)
        world.arm(policy={"after": 600, "warn": 60})
        return found

    monkeypatch.setattr(config, "read", overtaken)
    world.live(9 * MINUTE + 30)
    assert world.verdict()["state"] == "warned"
    orders = config.read(world.root, world.now())
    assert orders
    assert json.loads((world.root / "agent.json").read_text())["orders"] == orders.armed.id


def test_orders_that_come_after_a_boot_are_not_overwritten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(deadline=T0 + 2 * HOUR)
    monkeypatch.setattr(processes, "boot_id", lambda: "another-boot")
    ceiling = config.ceiling

    def overtaken(given: Any) -> Any:
        monkeypatch.setattr(config, "ceiling", ceiling)
        world.arm(deadline=T0 + 3 * HOUR)
        return ceiling(given)

    monkeypatch.setattr(config, "ceiling", overtaken)
    world.live(11)
    orders = config.read(world.root, world.now())
    assert orders
    assert orders.deadline == world.verdict()["deadline"] == T0 + 3 * HOUR


def test_orders_that_make_no_sense_leave_those_in_force() -> None:
    world = World()
    world.live(10)
    (world.root / "config.json").write_text("{}")
    world.live(40 * MINUTE)
    world.until_event("paused")


def test_keep_is_heeded() -> None:
    world = World()
    world.live(26 * MINUTE)
    config.set_hold(world.root, world.now().mono + 2 * HOUR, world.now())
    world.live(HOUR)
    assert world.kinds() == ["warning", "called-off"]
    assert world.verdict()["state"] == "held"
    assert world.verdict()["keep_until"] == pytest.approx(T0 + 26 * MINUTE + 2 * HOUR)


def test_an_agent_that_was_killed_goes_on_counting() -> None:
    world = World()
    world.live(27 * MINUTE)
    world.second += 20
    world.start()
    world.live(10)
    assert world.verdict()["state"] == "warned"
    assert world.verdict()["idle_for"] == pytest.approx(27 * MINUTE, abs=40)
    assert world.kinds() == ["warning", "restarted"]
    world.live(4 * MINUTE)
    world.until_event("paused")
    assert world.kinds().count("warning") == 1


def test_an_agent_that_was_away_for_long_begins_afresh() -> None:
    world = World()
    world.live(27 * MINUTE)
    world.second += 10 * MINUTE
    world.start()
    world.live(29 * MINUTE)
    assert world.kinds() == ["warning", "restarted", "warning"]
    assert world.verdict()["idle_for"] == pytest.approx(29 * MINUTE, abs=10)


def test_a_new_arming_begins_afresh_even_right_after_a_pause() -> None:
    world = World()
    world.live(30 * MINUTE + 5)
    world.until_event("paused")
    world.arm()
    world.start()
    world.live(20)
    assert world.verdict()["state"] == "active"


def test_the_deadline_survives_a_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(deadline=T0 + 2 * HOUR)
    world.parts.sample_now = lambda: sample(jobs=["r1"])
    world.live(HOUR)
    monkeypatch.setattr(processes, "boot_id", lambda: "another-boot")
    world.start()
    start = world.second

    def rebooted() -> Moment:
        return Moment(T0 + world.second, 5.0 + world.second - start)

    monkeypatch.setattr(world, "now", rebooted)
    world.live(5)
    assert world.verdict()["pauses_at"] == pytest.approx(T0 + 2 * HOUR - 30)
    # counted from here on by the clock that never jumps, also after the next restart
    monkeypatch.setattr(
        world, "now", lambda: Moment(T0 + world.second - 9 * HOUR, 5.0 + world.second - start)
    )
    world.start()
    world.live(HOUR)
    world.until_event("paused")


def test_a_sync_that_belongs_to_the_pause_does_not_call_it_off() -> None:
    world = World()
    moved = 0

    def syncing() -> dict[str, Any]:
        nonlocal moved
        moved += 5_000_000
        return sample(ssh={"sessions": 1, "rx_bytes": 0, "tx_bytes": moved})

    world.live(26 * MINUTE)
    note = {"until": world.now().wall + 600}
    (world.root / "syncing.json").write_text(json.dumps(note))
    world.parts.sample_now = syncing
    world.live(3 * MINUTE)
    assert world.verdict()["state"] == "warned"
    (world.root / "syncing.json").write_text(json.dumps({"until": 0}))
    world.live(5)
    assert world.verdict()["state"] == "warned"
    world.live(5)
    assert world.verdict()["state"] == "active"


def test_runs_whose_supervisor_died_are_settled_within_a_minute() -> None:
    world = World()
    world.live(1)
    dead = folder.RunFolder("job-1")
    dead.path.mkdir()
    dead.write_status(JobStatus(state="running", supervisor=Identity(2**22 + 1, "1", "b")))
    world.live(61)
    status = dead.status()
    assert status is not None
    assert (status.state, status.reason) == ("failed", "interrupted")


def _ssh(rx: int, tx: int) -> dict[str, int]:
    return {"sessions": 1, "rx_bytes": rx, "tx_bytes": tx}


def test_a_login_that_comes_to_fetch_does_not_call_the_pause_off() -> None:
    world = World()
    world.parts.sample_now = lambda: sample(ssh=_ssh(0, 0))
    world.live(26 * MINUTE)
    assert world.kinds() == ["warning"]
    world.parts.sample_now = lambda: sample(ssh=_ssh(6000, 5000))
    world.live(2)
    (world.root / "syncing.json").write_text(json.dumps({"until": world.now().wall + 60}))
    world.parts.sample_now = lambda: sample(ssh=_ssh(9000, 500_000))
    world.live(30)
    assert world.kinds() == ["warning"]


def test_a_person_who_comes_back_over_ssh_calls_the_pause_off() -> None:
    world = World()
    world.parts.sample_now = lambda: sample(ssh=_ssh(0, 0))
    world.live(26 * MINUTE)
    world.parts.sample_now = lambda: sample(ssh=_ssh(6000, 5000))
    world.live(10)
    assert world.kinds() == ["warning", "called-off"]


def test_what_was_saved_before_a_pause_is_told_before_the_orders_are_answered() -> None:
    data = Path.home() / "data"
    kept = data / "devbox-saved" / "gpu1"
    kept.mkdir(parents=True)
    note = {"t": T0, "folder": "/data/x", "files": 2, "bytes": 3, "left": 0, "told": False}
    (kept / "latest.json").write_text(json.dumps(note))
    world = World(volumes=[str(data)], disk_kept=False)
    world.live(1)
    assert [e.message for e in event_log.read(world.root)] == [
        "saved before a pause: 2 files (3 B) copied to /data/x"
    ]
    assert (world.root / "agent.json").exists()

"""What the box answers who asks its watchdog, or keeps it, in this process."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from devbox.box import event_log, json_file, paths
from devbox.box.watchdog import commands, config
from devbox.wire.codec import decode
from devbox.wire.messages import Kept, Verdict
from tests.idle.traces import HOUR, T0
from tests.idle.world import World

Capture = pytest.CaptureFixture[bytes]


def answer(capture: Capture, *words: str) -> Verdict:
    assert commands.verdict(list(words)) == 0
    return decode(capture.readouterr().out, Verdict)


def test_one_that_has_just_started_has_no_verdict_yet_and_counts_as_in_use(
    capfdbinary: Capture,
) -> None:
    world = World()
    world.live(1)
    (world.root / "verdict.json").unlink()
    found = answer(capfdbinary)
    assert (found.state, found.reasons) == ("active", ("the watchdog has just started",))
    assert (found.deadline, found.silent) == (T0 + 8 * HOUR, 0.0)
    (world.root / "config.json").unlink()
    assert answer(capfdbinary, "unsynced").deadline is None


def test_one_that_has_said_nothing_for_a_minute_is_told_as_silent(capfdbinary: Capture) -> None:
    world = World()
    world.live(1)
    last = world.verdict()
    json_file.write(world.root / "verdict.json", {**last, "now": time.time() - 90})
    found = answer(capfdbinary)
    assert found.silent == pytest.approx(90, abs=30)
    assert found.reasons[0].startswith("the watchdog has said nothing for ")
    assert list(found.reasons[1:]) == last["reasons"]


def test_what_is_only_there_is_counted_where_that_is_asked(capfdbinary: Capture) -> None:
    (Path.home() / "work").mkdir()
    (Path.home() / "work" / "model.pt").write_bytes(b"x" * 2048)
    world = World()
    world.live(1)
    json_file.write(world.root / "verdict.json", {**world.verdict(), "now": time.time()})
    assert answer(capfdbinary).unsynced == ""
    found = answer(capfdbinary, "unsynced")
    assert (found.unsynced, found.silent) == ("1 unsynced file (2.0 KB)", 0.0)


def test_where_none_runs_that_is_the_answer(capfdbinary: Capture) -> None:
    World()
    assert commands.verdict([]) == 3
    assert capfdbinary.readouterr() == (b"", b"no watchdog runs on this box\n")


def keep(capture: Capture, *words: str) -> Kept:
    assert commands.keep(list(words)) == 0
    return decode(capture.readouterr().out, Kept)


def test_a_keep_is_by_the_clock_of_who_asks_and_one_that_is_past_ends_it(
    capfdbinary: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    monkeypatch.setattr(config, "moment", world.now)
    asker = ("--now", "5000")
    assert keep(capfdbinary, "--until", "12200", *asker) == Kept(12200, False)
    assert config.hold(world.root, world.now()) == world.now().mono + 7200
    assert keep(capfdbinary, "--until", "5060", *asker) == Kept(12200, False), "never shorter"
    assert keep(capfdbinary, "--until", "99000", *asker) == Kept(5000 + 8 * HOUR, True)
    assert keep(capfdbinary, "--until", "5000", *asker) == Kept(5000, False)
    assert config.hold(world.root, world.now()) is None
    assert [event.message for event in event_log.read(world.root)] == [
        "kept for 2h",
        "kept for 2h",
        "kept for 8h, until max_uptime ends it",
        "kept no longer",
    ]


def test_a_sync_of_the_pause_is_announced_for_a_time(
    capfdbinary: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    monkeypatch.setattr(config, "moment", world.now)
    assert keep(capfdbinary, "--syncing", "60") == Kept(T0 + 60)
    assert json_file.read(world.root / "syncing.json") == {"until": T0 + 60}


def test_a_box_that_was_never_armed_is_not_kept(capfdbinary: Capture) -> None:
    paths.root()
    assert commands.keep(["--until", "2000", "--now", "1000"]) == 3
    assert capfdbinary.readouterr() == (b"", b"this box was never armed\n")


@pytest.mark.parametrize("time", ["nan", "-1", "1e999", "soon"])
def test_a_time_that_is_none_is_refused(capfdbinary: Capture, time: str) -> None:
    World()
    with pytest.raises(SystemExit) as stopped:
        commands.keep(["--until", time, "--now", "1"])
    assert stopped.value.code == 2
    assert b"--until" in capfdbinary.readouterr().err

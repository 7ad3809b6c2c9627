"""A short, fixed slice of the fault campaign (`make faults` runs all of it)."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.faults.campaign import ALLOWED, campaign
from tests.faults.guards import watchdog_killed
from tests.faults.points import KILL_AFTER, SSH_CONFIG, UNWRITABLE, Point
from tests.faults.world import World
from tests.faults.worlds import WORLDS, LocalWorld

pytestmark = pytest.mark.real_time

#: trials a provider: evenly over its calls and kinds of fault
TRIALS = {"local": 8, "ssh": 3, "hf-space": 8, "hf-job": 5, "modal": 6, "docker": 4}
TRIALS |= {"hf-space-ahead": 2, "hf-job-ahead": 2}


def test_a_campaign_notices_what_is_left_undone(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with campaign(LocalWorld(home)) as each:
        monkeypatch.setattr(each, "_reconcile", list)
        (trial,) = each.run([Point("up", "create", 1, KILL_AFTER)])
        assert trial.reached
        assert any("open goals" in wrong for wrong in trial.wrong)
        assert any("boxes bill while ours is" in wrong for wrong in trial.wrong)


def test_a_user_config_that_cannot_be_written_stops_no_box_from_being_guarded(home: Path) -> None:
    struck = Point("up", SSH_CONFIG, 1, UNWRITABLE)
    with campaign(LocalWorld(home)) as each:
        (trial,) = each.run([struck])
    assert trial.reached
    assert trial.wrong == ()


def test_every_world_has_its_slice() -> None:
    assert set(TRIALS) == {world.label() for world in WORLDS}


def test_a_box_whose_watchdog_was_killed_is_guarded_after_a_reconcile(home: Path) -> None:
    with campaign(LocalWorld(home)) as each:
        assert watchdog_killed(each).wrong == ()


@pytest.mark.slow
@pytest.mark.parametrize("made", WORLDS, ids=lambda world: world.label())
def test_what_is_struck_anywhere_is_finished_by_reconcile(made: type[World], home: Path) -> None:
    with campaign(made(home)) as each:
        planned = each.plan()
        # A stride that shares no factor with the number of kinds of fault comes by all of them.
        stride = math.ceil(len(planned) / TRIALS[made.label()])
        stride += math.gcd(stride, len(made.kinds)) > 1
        trials = list(each.run(planned[::stride]))
    assert {str(t.point): t.wrong for t in trials if t.wrong} == {}
    assert max((t.error for t in trials if t.error is not None), default=0.0) <= ALLOWED
    assert sum(t.reached for t in trials) >= len(trials) - 2

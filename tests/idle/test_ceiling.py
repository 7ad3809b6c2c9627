"""max_uptime: a deadline that no clock moves."""

from __future__ import annotations

import pytest

from devbox.box.watchdog.deadline import Ceiling, Moment
from devbox.wire.messages import Policy
from tests.idle.traces import HOUR, MINUTE, T0, ceiling, minutes, run, sample

BUSY = sample(jobs=["r1"])


def test_a_running_job_does_not_outlive_the_ceiling() -> None:
    found = run(Policy(), minutes(130, lambda s: BUSY), ceiling=ceiling(2 * HOUR))
    assert found.state_at(HOUR) == "active"
    assert found.state_at(2 * HOUR - 15 * MINUTE - 30) == "warned"
    assert found.pauses == 2 * HOUR - 30
    last = found.verdicts[-2][1]
    assert last.cause == "ceiling"
    assert last.reasons[0] == "max_uptime is reached in 35s"


def test_an_active_box_says_when_the_ceiling_comes() -> None:
    found = run(Policy(), [BUSY] * 10, ceiling=ceiling(2 * HOUR))
    verdict = found.verdicts[-1][1]
    assert verdict.pauses_at == T0 + 2 * HOUR - 30
    assert (verdict.cause, verdict.deadline) == ("ceiling", T0 + 2 * HOUR)


def test_keep_does_not_pass_it() -> None:
    rows = minutes(130, lambda s: sample())
    found = run(Policy(), rows, ceiling=ceiling(2 * HOUR), hold=9 * HOUR)
    assert found.pauses == 2 * HOUR - 30


def test_a_switched_off_policy_does_not_lift_it() -> None:
    policy = Policy(enabled=False)
    rows = minutes(130, lambda s: sample())
    assert run(policy, rows, ceiling=ceiling(2 * HOUR)).pauses == 2 * HOUR - 30


def test_dead_telemetry_does_not_pass_it() -> None:
    rows = minutes(10, lambda s: sample()) + minutes(180, lambda s: None)
    assert run(Policy(), rows, ceiling=ceiling(2 * HOUR)).pauses == 2 * HOUR - 30


def test_the_save_hooks_have_their_time_before_it() -> None:
    rows = minutes(130, lambda s: BUSY)
    assert run(Policy(), rows, ceiling=ceiling(2 * HOUR, save=120)).pauses == 2 * HOUR - 150


@pytest.mark.parametrize("span", [1.0, 5.0, 60.0])
def test_a_tiny_deadline_still_leaves_most_of_the_time(span: float) -> None:
    tiny = ceiling(span, save=120.0)
    assert tiny.lead <= span / 2
    assert tiny.due(Moment(T0, 1000.0)) >= 1000.0 + span / 2


@pytest.mark.parametrize("back", [60, HOUR, 40 * 24 * HOUR])
def test_turning_the_wall_clock_back_gains_nothing(back: int) -> None:
    def clock(second: int) -> Moment:
        return Moment(T0 + second - (back if second > 600 else 0), 1000.0 + second)

    rows = minutes(130, lambda s: BUSY)
    assert run(Policy(), rows, ceiling=ceiling(2 * HOUR), clock=clock).pauses == 2 * HOUR - 30


def test_time_in_suspend_counts_where_only_the_wall_clock_saw_it() -> None:
    def clock(second: int) -> Moment:
        return Moment(T0 + second + (HOUR if second > 600 else 0), 1000.0 + second)

    rows = minutes(130, lambda s: BUSY)
    assert run(Policy(), rows, ceiling=ceiling(2 * HOUR), clock=clock).pauses == HOUR - 30


@pytest.mark.parametrize("wrong", [-5 * HOUR, -90, 90, 5 * HOUR])
def test_a_box_with_a_wrong_clock_gets_its_whole_time(wrong: int) -> None:
    armed = Moment(T0 + wrong, 1000.0)
    given = Ceiling(T0 + 2 * HOUR, 2 * HOUR, armed, 2 * HOUR)

    def stays_wrong(second: int) -> Moment:
        return Moment(T0 + wrong + second, 1000.0 + second)

    def is_corrected(second: int) -> Moment:
        return Moment(T0 + second + (wrong if second < 900 else 0), 1000.0 + second)

    rows = minutes(130, lambda s: BUSY)
    for clock in (stays_wrong, is_corrected):
        assert run(Policy(), rows, ceiling=given, clock=clock).pauses == 2 * HOUR - 30


def test_a_machine_that_booted_anew_goes_on_counting_by_the_wall_clock() -> None:
    given = ceiling(2 * HOUR).anchored(Moment(T0 + HOUR, 5.0))
    assert given.left == HOUR
    assert given.due(Moment(T0 + HOUR, 5.0)) == 5.0 + HOUR - 30
    # and a clock that was turned back meanwhile does not give it more than it had
    again = ceiling(2 * HOUR).anchored(Moment(T0 - 9 * HOUR, 5.0))
    assert again.left == 2 * HOUR


def test_a_deadline_that_is_past_is_due_at_once() -> None:
    past = ceiling(-10.0, span=HOUR)
    found = run(Policy(), [BUSY] * 3, ceiling=past)
    assert found.pauses == 0
    assert found.verdicts[0][1].reasons[0] == "max_uptime reached"

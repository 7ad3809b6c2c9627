"""What a box costs and what it may start to cost by itself: "nothing" only of what cannot."""

from __future__ import annotations

import msgspec
import pytest

from devbox.model import Box, BoxState, Interval, Price
from devbox.money.exposure import exposure
from devbox.state.boxes import Intent
from tests.core.test_state import a_box

RATE = Price(1_800_000, "live")


def _box(state: BoxState, *, handle: str = "h", message: str = "", price: Price = RATE) -> Box:
    fields = {"state": state, "handle": handle, "message": message, "price": price}
    return msgspec.structs.replace(a_box(), **fields)


def _goal(goal: str, step: str) -> Intent:
    return Intent(1, "b", goal, step, 1, {}, 0.0, 0.0, None, "")


def test_an_open_interval_is_what_it_costs() -> None:
    interval = Interval(1, "b", "b", "p", "gpu", RATE, 0.0, None)
    found = exposure(_box(BoxState.RUNNING), interval, [], asked=True)
    assert (found.rate, found.sentence) == ("$1.80/h", "it is still costing $1.80/h")


@pytest.mark.parametrize(
    ("state", "handle", "words"),
    [
        (BoxState.PROVISIONING, "", "whether it did is not known"),
        (BoxState.STOPPING, "", "whether it did is not known"),
        (BoxState.PROVISIONING, "h", "waits for its provider"),
        (BoxState.BUILDING, "h", "starts by itself after that"),
        (BoxState.STARTING, "h", "it is starting"),
        (BoxState.PAUSING, "h", "pause is not confirmed"),
        (BoxState.STOPPING, "h", "end is not confirmed"),
    ],
)
def test_what_is_on_its_way_is_not_nothing(state: BoxState, handle: str, words: str) -> None:
    found = exposure(_box(state, handle=handle), None, [], asked=True)
    assert not found.is_nothing
    assert found.rate == "may $1.80/h"
    assert words in found.sentence
    assert "it may cost $1.80/h" in found.sentence


def test_a_box_that_failed_after_a_try_without_an_answer_may_cost() -> None:
    failed = _box(BoxState.FAILED, handle="")
    assert exposure(failed, None, [], asked=True).is_nothing
    unheard = msgspec.structs.replace(failed, unanswered=5.0)
    assert exposure(unheard, None, [], asked=True).rate == "may $1.80/h"


def test_a_price_that_is_unknown_is_unknown_and_not_nothing() -> None:
    found = exposure(_box(BoxState.BUILDING, price=Price(None)), None, [], asked=True)
    assert found.rate == "may unknown"


def test_a_sleeping_box_that_a_visit_wakes_is_not_nothing() -> None:
    asleep = _box(BoxState.PAUSED)
    assert exposure(asleep, None, [], asked=True).is_nothing
    found = exposure(asleep, None, [], asked=True, wakes="a visit wakes it")
    assert found.sentence == "it may cost $1.80/h: a visit wakes it"


def test_a_resume_in_flight_is_not_nothing() -> None:
    paused = _box(BoxState.PAUSED)
    assert exposure(paused, None, [_goal("running", "observe")], asked=True).is_nothing
    assert not exposure(paused, None, [_goal("running", "resume")], asked=True).is_nothing


def test_an_end_that_was_given_up_on_is_not_nothing() -> None:
    lost = msgspec.structs.replace(_box(BoxState.LOST), given_up=True)
    assert not exposure(lost, None, [], asked=True).is_nothing
    gone = _box(BoxState.LOST, message="the provider no longer knows it")
    assert exposure(gone, None, [], asked=True).is_nothing


@pytest.mark.parametrize(
    "box",
    [_box(BoxState.TERMINATED), _box(BoxState.BUILDING, price=Price(0)), _box(BoxState.PAUSED)],
)
def test_what_cannot_begin_to_cost_is_nothing(box: Box) -> None:
    found = exposure(box, None, [], asked=True)
    assert (found.rate, found.sentence) == ("–", "it costs nothing now")


def test_what_no_provider_was_asked_for_is_nothing() -> None:
    assert exposure(_box(BoxState.PROVISIONING, handle=""), None, [], asked=False).is_nothing

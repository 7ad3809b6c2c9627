"""The rules that turn a provider's answer into our record and its bill, as tables."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import pytest

from devbox.lifecycle.merge import Answer, merge
from devbox.model import Box, BoxState, Connection, Endpoint, Interval, Price
from devbox.providers.base import Observation
from devbox.state.boxes import Intent, Record

NOW = 1000.0
ONE = Price(1_000_000, "list")
TWO = Price(2_000_000, "list")
BOX = Box(
    id="id-b",
    name="b",
    provider="local",
    token="b-1",
    state=BoxState.RUNNING,
    hardware="cpu",
    price=ONE,
    created=100.0,
    updated=900.0,
    seen=890.0,
    handle="h",
)


def _box(state: BoxState, **fields: Any) -> Box:
    return msgspec.structs.replace(BOX, state=state, **fields)


def _goal(goal: str) -> Intent:
    return Intent(1, BOX.id, goal, "journalled", 1, {}, 850.0, 950.0, None, "")


def _interval(
    start: float, end: float | None, *, price: Price = ONE, hardware: str = "cpu"
) -> Interval:
    return Interval(7, BOX.id, BOX.name, BOX.provider, hardware, price, start, end)


def _seen(state: BoxState, **fields: Any) -> Observation:
    return Observation("h", "b", "b-1", state, **fields)


@pytest.mark.parametrize(
    ("ours", "goal", "theirs", "becomes"),
    [
        (BoxState.RUNNING, "", BoxState.PAUSED, BoxState.PAUSED),
        (BoxState.RUNNING, "running", BoxState.STARTING, BoxState.STARTING),
        (BoxState.STOPPING, "terminated", BoxState.RUNNING, BoxState.STOPPING),
        (BoxState.STOPPING, "terminated", BoxState.FAILED, BoxState.STOPPING),
        (BoxState.STOPPING, "terminated", BoxState.TERMINATED, BoxState.TERMINATED),
        (BoxState.STOPPING, "terminated", None, BoxState.TERMINATED),
        (BoxState.PAUSING, "paused", BoxState.RUNNING, BoxState.PAUSING),
        (BoxState.PAUSING, "paused", BoxState.PAUSED, BoxState.PAUSED),
        (BoxState.PAUSING, "paused", BoxState.FAILED, BoxState.FAILED),
        (BoxState.RUNNING, "", None, BoxState.LOST),
        (BoxState.TERMINATED, "", BoxState.RUNNING, BoxState.TERMINATED),
        (BoxState.TERMINATED, "", None, BoxState.TERMINATED),
        (BoxState.LOST, "", BoxState.RUNNING, BoxState.RUNNING),
        (BoxState.LOST, "", BoxState.TERMINATED, BoxState.LOST),
        (BoxState.LOST, "", None, BoxState.LOST),
    ],
)
def test_the_state(ours: BoxState, goal: str, theirs: BoxState | None, becomes: BoxState) -> None:
    record = Record(_box(ours), _goal(goal) if goal else None, None, None)
    seen = None if theirs is None else _seen(theirs)
    assert merge(record, Answer(seen, NOW), None, NOW).box.state is becomes


@pytest.mark.parametrize(
    ("asked", "now", "news"),
    [
        (899.0, NOW, False),  # the record changed while the provider was asked
        (900.0, NOW, True),
        (950.0, NOW, True),
        (850.0, 860.0, True),  # this computer's clock was set back: the record is of no later time
    ],
)
@pytest.mark.parametrize("seen", [_seen(BoxState.PAUSED), None])
def test_an_older_answer_is_no_news(
    asked: float, now: float, news: bool, seen: Observation | None
) -> None:
    record = Record(BOX, None, _interval(200.0, None), None)
    change = merge(record, Answer(seen, asked), None, now)
    assert (change.box != BOX) is news
    assert bool(change.intervals) is news


@pytest.mark.parametrize(
    ("lost", "token", "lives"),
    [
        ({"handle": "h"}, "b-1", True),
        ({"handle": "h"}, "", True),
        ({"handle": "h"}, "c-2", False),  # its handle is another's by now
        ({"handle": "h", "given_up": True}, "b-1", False),
        ({"handle": ""}, "b-1", False),
    ],
)
def test_a_lost_box_lives_on_as_itself_only(lost: dict[str, Any], token: str, lives: bool) -> None:
    record = Record(_box(BoxState.LOST, **lost), None, None, None)
    seen = Observation("h", "b", token, BoxState.RUNNING)
    assert (merge(record, Answer(seen, NOW), None, NOW).box.state is BoxState.RUNNING) is lives


def test_what_a_provider_does_not_say_is_kept() -> None:
    there = Endpoint("h.example", 22, "root")
    box = _box(BoxState.RUNNING, endpoint=there, deadline=5000.0, started=300.0)
    after = merge(
        Record(box, None, _interval(300.0, None), None),
        Answer(_seen(BoxState.RUNNING, billed=True, stage="up"), NOW),
        None,
        NOW,
    ).box
    assert (after.endpoint, after.deadline, after.started) == (there, 5000.0, 300.0)
    assert (after.price, after.hardware, after.stage) == (ONE, "cpu", "up")
    assert (after.seen, after.updated) == (NOW, NOW)


@pytest.mark.parametrize("known", [None, Connection(identity="me"), Connection(identity="")])
def test_where_a_box_lives_is_learned_once(known: Connection | None) -> None:
    record = Record(_box(BoxState.RUNNING, connection=known), None, None, None)
    learned = Connection(identity="learned")
    after = merge(record, Answer(_seen(BoxState.RUNNING), NOW), learned, NOW).box
    assert after.connection == (known if known and known.identity else learned)


class _Bill(NamedTuple):
    """Rows as (id, start, end, price) for what was open and last, and what was seen."""

    current: Interval | None
    last: Interval | None
    seen: dict[str, Any]
    rows: list[tuple[int, float, float | None, Price]]
    state: BoxState = BoxState.RUNNING


@pytest.mark.parametrize(
    "case",
    [
        # begins: at the provider's own time, never after now, never before the last one's end
        _Bill(None, None, {"billed": True}, [(0, NOW, None, ONE)]),
        _Bill(None, None, {"billed": True, "billed_since": 700.0}, [(0, 700.0, None, ONE)]),
        _Bill(None, None, {"billed": True, "billed_since": 1600.0}, [(0, NOW, None, ONE)]),
        _Bill(
            None,
            _interval(100.0, 750.0),
            {"billed": True, "billed_since": 700.0},
            [(0, 750.0, None, ONE)],
        ),
        # continues: nothing to write
        _Bill(_interval(200.0, None), None, {"billed": True}, []),
        _Bill(_interval(200.0, None), None, {"billed": True, "billed_since": 200.4}, []),
        _Bill(_interval(200.0, None), None, {"billed": True, "billed_since": 700.0}, []),
        # this computer's clock was set since it began: the begin is one by the clock as it is now
        _Bill(
            _interval(200.0, None),
            _interval(50.0, 80.0),
            {"billed": True, "billed_since": 150.0, "dated": True},
            [(7, 150.0, None, ONE)],
        ),
        _Bill(
            _interval(200.0, None),
            None,
            {"billed_since": 290.0, "ended_at": 800.0, "dated": True},
            [(7, 290.0, 800.0, ONE)],
            BoxState.PAUSED,
        ),
        _Bill(  # a few seconds are no clock that was set, and a new price no begin
            _interval(200.0, None),
            None,
            {"billed": True, "billed_since": 203.0, "dated": True},
            [],
        ),
        _Bill(
            _interval(200.0, None),
            _interval(100.0, 200.0, price=TWO),
            {"billed": True, "billed_since": 100.0, "dated": True},
            [],
        ),
        # another price or other hardware: from now on, with no gap and no overlap
        _Bill(
            _interval(200.0, None),
            None,
            {"billed": True, "billed_since": 200.0, "price": TWO},
            [(7, 200.0, NOW, ONE), (0, NOW, None, TWO)],
        ),
        _Bill(
            _interval(200.0, None),
            None,
            {"billed": True, "hardware": "gpu"},
            [(7, 200.0, NOW, ONE), (0, NOW, None, ONE)],
        ),
        # stopped and began again between two looks: two stretches
        _Bill(
            _interval(200.0, None),
            None,
            {"billed": True, "billed_since": 800.0, "ended_at": 600.0},
            [(7, 200.0, 600.0, ONE), (0, 800.0, None, ONE)],
        ),
        _Bill(
            _interval(200.0, None),
            None,
            {"billed": True, "billed_since": 800.0, "ended_at": 600.0, "dated": True},
            [(7, 200.0, 600.0, ONE), (0, 800.0, None, ONE)],
        ),
        # ends: when the provider says, never after now, never before it began
        _Bill(_interval(200.0, None), None, {}, [(7, 200.0, NOW, ONE)]),
        _Bill(_interval(200.0, None), None, {"ended_at": 600.0}, [(7, 200.0, 600.0, ONE)]),
        _Bill(_interval(200.0, None), None, {"ended_at": 1600.0}, [(7, 200.0, NOW, ONE)]),
        _Bill(_interval(200.0, None), None, {"ended_at": 100.0}, [(7, 200.0, 200.0, ONE)]),
        _Bill(None, None, {}, []),
        _Bill(None, None, {"ended_at": 600.0}, []),
        # a whole stretch between two looks: once
        _Bill(None, None, {"billed_since": 500.0, "ended_at": 600.0}, [(0, 500.0, 600.0, ONE)]),
        _Bill(
            None,
            None,
            {"billed_since": 1500.0, "ended_at": 1600.0},
            [(0, 900.0, NOW, ONE)],  # its clock is ahead: the length is right
        ),
        _Bill(None, _interval(500.0, 600.0), {"billed_since": 500.0, "ended_at": 600.0}, []),
        _Bill(
            None,
            _interval(100.0, 500.5),
            {"billed_since": 500.0, "ended_at": 600.0},
            [(0, 500.5, 600.0, ONE)],
        ),
        # lost, and there again: what continued stays one interval
        _Bill(
            None,
            _interval(10.0, 50.0),
            {"billed": True},
            [(7, 10.0, None, ONE)],
            BoxState.LOST,
        ),
        _Bill(
            None,
            _interval(10.0, 50.0),
            {"billed": True, "billed_since": 50.0},
            [(7, 10.0, None, ONE)],
            BoxState.LOST,
        ),
        _Bill(
            None,
            _interval(10.0, 50.0),
            {"billed": True, "billed_since": 60.0},
            [(0, 60.0, None, ONE)],
            BoxState.LOST,
        ),
        _Bill(
            None,
            _interval(10.0, 50.0),
            {"billed": True, "price": TWO},
            [(0, 50.0, None, TWO)],
            BoxState.LOST,
        ),
        _Bill(None, None, {"billed": True}, [(0, NOW, None, ONE)], BoxState.LOST),
        _Bill(None, _interval(10.0, 50.0), {}, [], BoxState.LOST),
    ],
)
def test_the_bill(case: _Bill) -> None:
    record = Record(_box(case.state), None, case.current, case.last)
    change = merge(record, Answer(_seen(BoxState.RUNNING, **case.seen), NOW), None, NOW)
    assert [(each.id, each.start, each.end, each.price) for each in change.intervals] == case.rows


@pytest.mark.parametrize(
    ("state", "goal", "end"),
    [
        (BoxState.RUNNING, "", 890.0),  # by itself: we know of it only until it was last seen
        (BoxState.STOPPING, "terminated", 950.0),  # asked for: when that was last at work
        (BoxState.STOPPING, "", 890.0),
    ],
)
def test_the_bill_of_a_box_that_is_gone(state: BoxState, goal: str, end: float) -> None:
    current = _interval(200.0, None)
    record = Record(_box(state), _goal(goal) if goal else None, current, None)
    (row,) = merge(record, Answer(None, NOW), None, NOW).intervals
    assert (row.id, row.start, row.end) == (7, 200.0, end)

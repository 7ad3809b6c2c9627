"""Billing units and odd clocks: one formula, pure and in SQL, with a floor of 0."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devbox.model import Interval, Price
from devbox.state import costs
from devbox.state.spending import report, spent_between, spent_by_box
from devbox.state.store import Store
from tests.boxes import close_interval, open_interval
from tests.core.test_state import HOUR, a_box

T0 = dt.datetime(2026, 3, 10, 23, 30).timestamp()
RATE = 600_000  # micro-dollars an hour: 10_000 a minute


def _interval(start: float, end: float | None, *, unit: int = 60) -> Interval:
    return Interval(1, "b", "b", "p", "gpu", Price(RATE, unit=unit), start, end)


@pytest.mark.parametrize(
    ("seconds", "counted"),
    [(-600, 0), (0, 0), (0.5, 60), (60, 60), (60.0000002, 60), (61, 120), (3600, 3600)],
)
def test_a_minute_that_has_begun_counts_whole(seconds: float, counted: float) -> None:
    assert costs.billed(seconds, 60) == counted
    assert costs.billed(seconds, 0) == max(0, seconds)


def test_each_stretch_is_rounded_by_itself() -> None:
    stretches = [_interval(0, 61), _interval(100, 130)]
    assert costs.run_cost(stretches, 0, HOUR) == 3 * 10_000


def test_windows_next_to_each_other_add_up() -> None:
    (whole,) = [_interval(0, 1000)]
    parts = [costs.run_cost([whole], a, a + 70) or 0 for a in range(0, 1050, 70)]
    assert sum(parts) == costs.run_cost([whole], 0, 1050) == 17 * 10_000


def test_an_interval_that_starts_after_now_costs_nothing_and_hides_nothing() -> None:
    """A provider's clock that ran ahead gave a negative cost, which hid other spending."""
    store = Store.open()
    open_interval(store.ledger, a_box("ahead"), Price(RATE), T0 + 600)
    open_interval(store.ledger, a_box("other"), Price(RATE), T0 - HOUR)
    close_interval(store.ledger, "id-other", T0)
    database = store.database
    assert spent_between(database, T0 - 2 * HOUR, T0, T0) == RATE
    assert spent_by_box(database, 0, T0, T0) == {"id-other": RATE}
    for by in ("box", "hardware"):
        assert sum(line.cost for line in report(database, by, T0)) == RATE
    assert sum(line.cost for line in report(database, "day", T0)) == RATE
    assert costs.run_cost(store.ledger.of_box("id-ahead"), 0, T0) == 0


_STRETCHES = st.lists(
    st.tuples(
        st.integers(0, 3 * 86_400_000),  # milliseconds of the gap before it
        st.integers(0, 3 * 86_400_000),  # and of its length
        st.sampled_from([0, 1, 60]),
    ),
    min_size=1,
    max_size=4,
)


@settings(
    max_examples=60,
)
@given(_STRETCHES, st.booleans(), st.floats(-86_400, 10 * 86_400), st.floats(-86_400, 10 * 86_400))
def test_every_sum_in_sql_is_the_pure_formula(
    stretches: list[tuple[int, int, int]], is_open: bool, a: float, b: float
) -> None:
    store = Store.open()
    with store.database.write() as connection:
        connection.execute("DELETE FROM intervals")
    at = T0
    box = a_box()
    for index, (gap, length, unit) in enumerate(stretches):
        at += gap / 1000
        open_interval(store.ledger, box, Price(RATE, unit=unit), at)
        at += length / 1000
        if not is_open or index < len(stretches) - 1:
            close_interval(store.ledger, box.id, at)
    intervals = store.ledger.of_box(box.id)
    now, begin = T0 + max(a, b), T0 + min(a, b)
    whole = costs.run_cost(intervals, 0, now) or 0
    assert whole >= 0
    assert spent_by_box(store.database, 0, now, now).get(box.id, 0) == pytest.approx(whole, abs=1)
    window = costs.run_cost(intervals, begin, now) or 0
    assert spent_between(store.database, begin, now, now) == pytest.approx(window, abs=1)
    assert sum(line.cost for line in report(store.database, "box", now)) == pytest.approx(
        whole, abs=1
    )
    days = report(store.database, "day", now)
    assert sum(line.cost for line in days) == pytest.approx(whole, abs=1 + len(days))
    assert min((line.cost for line in days), default=0) >= 0

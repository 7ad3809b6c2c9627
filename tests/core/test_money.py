"""Money: exact, by the frozen price, and unknown stays unknown."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devbox.errors import NotFound
from devbox.model import Hardware, Interval, Offer, Price, Run, RunState
from devbox.money.fit import fit
from devbox.money.offers import gather, select
from devbox.spec import (
    BoxSpec,
    Bytes,
    DockerSettings,
    LocalSettings,
    Providers,
    Spec,
)
from devbox.state.costs import cost, run_cost
from devbox.state.spending import report, spent_between
from devbox.state.store import Store
from devbox.workspace import Workspace
from tests.boxes import close_interval, open_interval
from tests.core.test_state import HOUR, a_box

NOON = dt.datetime(2026, 3, 10, 12).timestamp()


def _interval(start: float, end: float | None, micro: int | None = 1_000_000) -> Interval:
    return Interval(1, "b", "b", "local", "cpu", Price(micro), start, end)


def test_an_hour_costs_its_price() -> None:
    assert cost(Price(590_400), 3600) == 590_400
    assert cost(Price(None), 3600) is None
    assert cost(Price(0), 1e9) == 0


@given(
    st.lists(st.tuples(st.floats(0, 1e4), st.floats(0, 1e4)), max_size=6),
    st.floats(0, 1e4),
    st.floats(0, 1e4),
)
def test_a_run_costs_the_overlap(spans: list[tuple[float, float]], a: float, b: float) -> None:
    start, end = min(a, b), max(a, b)
    intervals = [_interval(min(s), max(s)) for s in spans]
    expected = sum(max(0.0, min(end, i.end or 0) - max(start, i.start)) for i in intervals)
    assert run_cost(intervals, start, end) == pytest.approx(expected / 3600 * 1e6, abs=1)


def test_one_unknown_price_makes_a_run_unknown() -> None:
    assert run_cost([_interval(0, 10), _interval(10, 20, None)], 5, 15) is None
    assert run_cost([_interval(0, 10), _interval(10, 20, None)], 0, 10) is not None


def test_reports_by_box_hardware_and_job() -> None:
    store = Store.open()
    one, two = a_box("one"), a_box("two", hardware="gpu")
    open_interval(store.ledger, one, Price(1_000_000), 0)
    close_interval(store.ledger, one.id, 2 * HOUR)
    open_interval(store.ledger, two, Price(None), 0)
    close_interval(store.ledger, two.id, HOUR)
    store.runs.put(Run("r", one.id, "one", "track", RunState.SUCCEEDED, 0, HOUR, 1.5 * HOUR))
    by_box = {line.key: line for line in report(store.database, "box", 9 * HOUR)}
    assert by_box["one"].total == 2_000_000
    assert by_box["two"].total is None
    assert by_box["two"].unknown_seconds == HOUR
    assert [line.key for line in report(store.database, "hardware", 9 * HOUR)] == [
        "local/cpu",
        "local/gpu",
    ]
    (job,) = report(store.database, "job", 9 * HOUR)
    assert (job.key, job.cost, job.seconds) == ("track", 500_000, 0.5 * HOUR)


def test_a_retried_run_costs_its_attempts_and_not_the_gap_between() -> None:
    store = Store.open()
    box = a_box()
    open_interval(store.ledger, box, Price(1_000_000), 0)
    attempts = b'{"attempts": [{"started": 0, "ended": 3600}, {"started": 36000, "ended": null}]}'
    run = Run("r", box.id, "b", "j", RunState.RUNNING, 0, 0.0, status=attempts)
    store.runs.put(run)
    (job,) = report(store.database, "job", 11 * HOUR)
    assert (job.seconds, job.cost) == (2 * HOUR, 2_000_000)


def test_a_night_is_split_at_midnight_and_days_add_up_to_boxes() -> None:
    store = Store.open()
    box = a_box()
    open_interval(store.ledger, box, Price(1_000_000), NOON)
    close_interval(store.ledger, box.id, NOON + 50 * HOUR)
    open_interval(store.ledger, box, Price(1_000_000), NOON + 60 * HOUR)
    now = NOON + 61 * HOUR
    days = report(store.database, "day", now)
    assert [line.key for line in days] == ["2026-03-10", "2026-03-11", "2026-03-12", "2026-03-13"]
    assert [line.seconds / HOUR for line in days] == [12, 24, 14, 1]
    assert sum(line.cost for line in days) == report(store.database, "box", now)[0].cost


def test_spending_between_two_times() -> None:
    store = Store.open()
    open_interval(store.ledger, a_box(), Price(1_000_000), 0)
    assert spent_between(store.database, HOUR, 3 * HOUR, 2 * HOUR) == 1_000_000
    open_interval(store.ledger, a_box("u"), Price(None), 0)
    assert spent_between(store.database, HOUR, 3 * HOUR, 2 * HOUR) is None


def _offer(name: str, micro: int | None, vram: int = 0) -> Offer:
    return Offer("local", Hardware(name, vram=vram << 30, cpus=4), Price(micro), 0.0)


OFFERS = [_offer("dear", 5_000_000, 80), _offer("cheap", 400_000, 24), _offer("odd", None, 48)]


def test_fit_takes_the_cheapest_that_is_large_enough() -> None:
    assert fit(BoxSpec(vram=Bytes(20 << 30)), OFFERS).hardware.name == "cheap"
    assert fit(BoxSpec(vram=Bytes(40 << 30), max_price=9), OFFERS).hardware.name == "dear"
    assert fit(BoxSpec(hardware="odd"), OFFERS).hardware.name == "odd"


def test_fit_says_what_comes_closest() -> None:
    with pytest.raises(NotFound, match="cheapest that fits is dear at") as caught:
        fit(BoxSpec(vram=Bytes(60 << 30), max_price=1.0), OFFERS)
    assert caught.value.means == "nothing was started"
    with pytest.raises(NotFound, match="no hardware 'h200'"):
        fit(BoxSpec(hardware="h200"), OFFERS)


def test_offers_cheapest_first_and_unknown_prices_last() -> None:
    assert [o.hardware.name for o in select(OFFERS)] == ["cheap", "dear", "odd"]
    assert [o.hardware.name for o in select(OFFERS, max_price=1)] == ["cheap"]


def test_a_provider_that_is_set_up_wrong_hides_no_other_offers(home: Path) -> None:
    docker = Providers(docker=DockerSettings(namespace="no name!"), local=LocalSettings(price=1.0))
    ws = Workspace(Spec(project="p", root=home, providers=docker))
    found, failed = gather(ws, ["docker", "local"])
    assert [offer.provider for offer in found] == ["local"]
    assert "namespace" in failed["docker"]

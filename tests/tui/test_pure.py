"""History, charts, notices and the schedule of questions: pure parts."""

from __future__ import annotations

import math

from devbox import text_layout
from devbox.model import BoxState, Price, RunState
from devbox.tui import fleet
from devbox.tui.feed import BoxView
from devbox.tui.history import History, Ring, resampled
from devbox.tui.notices import Notices
from devbox.tui.schedule import Schedule
from devbox.wire.messages import Then
from tests.tui import fakes
from tests.tui.fakes import NOW


def test_a_ring_keeps_means_and_shows_gaps() -> None:
    ring = Ring(5.0, 4)
    for t, value in ((0, 10), (1, 20), (6, 40), (17, 80)):
        ring.put(t, value)
    first, second, gap, last = ring.latest(4, 17)
    assert (first, second, last) == (15, 40, 80)
    assert math.isnan(gap)
    ring.put(1000, 1)
    assert [v for v in ring.latest(4, 1000) if not math.isnan(v)] == [1]
    ring.put(3, 99)  # long gone
    assert 99 not in ring.latest(4, 1000)


def test_late_samples_of_the_past_fill_in() -> None:
    ring = Ring(1.0, 10)
    ring.put(9, 9)
    for t in range(9):
        ring.put(t, t)
    assert ring.latest(10, 9) == list(range(10))


def test_history_has_minutes_by_the_second_and_an_hour_in_steps() -> None:
    history = History()
    for seq in range(4000):
        history.put(fakes.sample(seq, 10_000.0 + seq, gpus=2))
    assert history.gpus == 2
    for window in (300.0, 3600.0):
        for name in ("util", "mem", "power", "temp"):
            values = history.combined(name, window, 60)
            assert len(values) == 60
            assert not any(math.isnan(v) for v in values)
    both = history.combined("power", 300.0, 300)
    single = history.window("0.power", 300.0, 300)
    assert both[-1] > single[-1]
    assert history.window("9.power", 300.0, 10) == []


def test_history_does_not_grow() -> None:
    history = History()
    for seq in range(100):
        history.put(fakes.sample(seq, seq, gpus=64))
    assert history.gpus == 16
    assert len(history.series) == 4 + 16 * 4


def test_resampling() -> None:
    assert resampled([1.0, 2.0, 3.0, 4.0], 2) == [1.5, 3.5]
    assert resampled([1.0, 2.0], 4) == [1.0, 1.0, 2.0, 2.0]
    assert math.isnan(resampled([math.nan, math.nan], 1)[0])


def test_bars() -> None:
    assert text_layout.bar(None, 5) == [("·····", "dim")]
    assert text_layout.bar(math.nan, 5) == [("·····", "dim")]
    for value in (-5.0, 0.0, 33.0, 99.9, 100.0, 250.0):
        assert text_layout.width_of(text_layout.bar(value, 9)) == 9
    assert text_layout.bar(50.0, 0) == []


def _told(notices: Notices, feed: fakes.FakeFeed, **more: object) -> list[str]:
    found = notices.look(feed, feed.now, **more)  # type: ignore[arg-type]
    return [f"{notice.title} {notice.text}" for notice in found]


def test_about_to_pause_is_told_once() -> None:
    feed = fakes.FakeFeed([fakes.view("b")])
    notices = Notices()
    feed.verdicts["id-b"] = fakes.verdict("idle", 900.0)
    assert _told(notices, feed) == []
    feed.verdicts["id-b"] = fakes.verdict("warned", 280.0)
    (told,) = _told(notices, feed)
    assert told == "b pauses in 4m: GPU below 5 % for 10m; no job runs (h keeps it)"
    feed.verdicts["id-b"] = fakes.verdict("warned", 281.5)
    assert _told(notices, feed) == []
    feed.verdicts["id-b"] = fakes.verdict("active", 100.0)
    assert _told(notices, feed) == []


def test_a_pause_at_a_budgets_cap_is_told_without_a_key_that_does_not_help() -> None:
    feed, notices = fakes.FakeFeed([fakes.view("b")]), Notices()
    feed.verdicts["id-b"] = fakes.verdict("warned", 280.0)._replace(cause="budget")
    (told,) = _told(notices, feed)
    assert told.startswith("b pauses in 4m: ")
    assert "keeps it" not in told


def test_the_ceiling_is_told_once() -> None:
    feed = fakes.FakeFeed([fakes.view("b", deadline=NOW + 600)])
    notices = Notices()
    assert _told(notices, feed) == ["b reaches its max_uptime in 10m"]
    assert _told(notices, feed) == []


def test_throttling_is_told_when_it_lasts() -> None:
    view = fakes.view("b")
    feed = fakes.FakeFeed([view])
    cell = feed.fill(view, 1, 1)
    notices = Notices()

    def throttle(*reasons: str) -> None:
        gpu = fakes.gpu(0, 0, throttle=reasons)
        cell.put(fakes.sample(5, feed.now, gpus=(gpu,)), feed.now)

    throttle("sw_power_cap")
    feed.now += 60
    assert _told(notices, feed) == []
    throttle("hw_thermal", "sw_power_cap")
    assert _told(notices, feed) == []
    feed.now += 11
    assert _told(notices, feed) == ["b GPU runs below its clocks: hw thermal"]
    feed.now += 60
    assert _told(notices, feed) == []
    throttle()
    _told(notices, feed)
    throttle("hw_thermal")
    _told(notices, feed)
    feed.now += 700
    assert len(_told(notices, feed)) == 1


def test_states_and_runs_are_told_when_they_change() -> None:
    feed = fakes.FakeFeed([fakes.view("b", BoxState.BUILDING)])
    feed.recent = [fakes.run(1, RunState.RUNNING), fakes.run(2, RunState.SUCCEEDED)]
    notices = Notices()
    assert _told(notices, feed) == []
    feed.views = [fakes.view("b", BoxState.FAILED, message="pip said no")]
    feed.recent = [fakes.run(1, RunState.FAILED), fakes.run(2, RunState.SUCCEEDED)]
    assert _told(notices, feed) == [
        "b its image did not build: pip said no",
        "train run track-20260721-150001-abcd failed",
    ]
    assert _told(notices, feed) == []
    feed.views = [fakes.view("b", BoxState.LOST)]
    assert _told(notices, feed) == ["b its provider no longer knows it"]
    feed.views = [fakes.view("b", BoxState.PAUSED)]
    assert _told(notices, feed, ours={"b"}) == []


def test_what_changes_or_is_looked_at_is_asked_often() -> None:
    schedule = Schedule()
    calm, busy = fakes.box("calm"), fakes.box("busy", BoxState.STARTING)
    schedule.boxes([calm, busy], 0.0)
    assert set(schedule.providers(0.0)) == {"id-calm", "id-busy"}
    schedule.providers_asked([calm, busy], 0.0)
    assert schedule.providers(1.9) == []
    assert schedule.providers(2.0) == ["id-busy"]
    assert set(schedule.providers(30.0)) == {"id-calm", "id-busy"}
    schedule.look("id-calm", ["id-calm"], "jobs")
    assert schedule.verdicts(0.0) == ["id-calm"]
    schedule.verdict_asked("id-calm", 0.0)
    assert schedule.verdicts(9.0) == []
    assert schedule.verdicts(10.0) == ["id-calm"]
    schedule.runs_asked("id-calm", True, 0.0)
    assert "id-calm" in schedule.runs(2.0)
    schedule.runs_asked("id-calm", False, 0.0)
    assert "id-calm" not in schedule.runs(2.0)


def test_a_cut_is_looked_into_at_once_and_then_with_patience() -> None:
    schedule = Schedule()
    box = fakes.box("b")
    schedule.boxes([box], 0.0)
    schedule.providers_asked([box], 0.0)
    schedule.provider_soon("id-b", 5.0)
    assert schedule.providers(5.0) == ["id-b"]
    now, asked = 5.0, []
    while now < 100.0:
        if schedule.providers(now):
            asked.append(now)
            schedule.providers_asked([box], now)
        now += 0.5
    assert asked[:4] == [5.0, 6.0, 7.0, 8.0]
    assert len(asked) < 14
    schedule.provider_soon("nobody", 5.0)
    schedule.boxes([], 200.0)
    assert schedule.providers(1e9) == []


def test_a_box_view_knows_no_price_as_none() -> None:
    view = fakes.view("b", price=Price(None, "unknown"))
    assert isinstance(view, BoxView)
    assert view.costing
    assert view.micro is None


def test_a_box_that_stops_after_its_run_says_so() -> None:
    box = fakes.box("b")
    ordered = fakes.verdict(then=Then("down", "r1", "run", "ends when run r1 ends"))
    assert fleet.idle(box, ordered, NOW) == [("then ends", "info")]
    assert fleet.idle(box, fakes.verdict(), NOW) == [("in use", "good")]

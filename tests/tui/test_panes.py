"""The tabs: what they say of a box."""

from __future__ import annotations

import pytest

from devbox.model import BoxState, RunState
from devbox.tui.actions import PANES
from devbox.tui.feed import RunView
from tests.tui import fakes, fleets
from tests.tui.conftest import Open


async def test_tabs_by_number_by_letter_and_by_click(dashboard: Open) -> None:
    async with dashboard() as it:
        for number, name in enumerate(PANES, 1):
            await it.press(str(number))
            assert it.app.pane == name
        await it.press("l")
        assert it.app.pane == "load"
        await it.press("h")
        assert it.app.pane == "events"


async def test_gpu_tab(dashboard: Open) -> None:
    async with dashboard(size=(150, 60)) as it:
        await it.select("train")
        text = it.page("load")
        for word in ("● live", "of 32 cores", "H100 80GB HBM3", "CLOCK", "/80 GB", "/700 W",
                     "1980 MHz", "VRAM", "Power", "Temperature", "PROCESS",
                     "python train.py", "75%", "5m─", "─now"):  # fmt: skip
            assert word in text
        assert text.count("H100 80GB HBM3") == 8


async def test_gpu_faults_are_marked(dashboard: Open) -> None:
    feed = fleets.fleet()
    view = feed.views[0]
    cell = feed.fill(view, 1)
    hot = fakes.gpu(0, 0, throttle=("hw_thermal",), ecc_errors=3, temp_c=91.0, mig=True, util=None)
    cell.put(fakes.sample(999, feed.now, gpus=(hot,)), feed.now)
    async with dashboard(feed=feed, size=(150, 60)) as it:
        await it.select("train")
        text = it.page("load")
        assert "▼ hw thermal" in text
        assert "✖ 3 memory errors" in text
        assert "91°C" in text
        assert "MIG" in text


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("broken", "no matching distribution for torch==9"),
        ("nightly", "w resumes it"),
        ("gone", "u makes a new one"),
        ("build", "L follows the build's log"),
        ("lab", "last values, 42s old"),
    ],
)
async def test_gpu_tab_of_a_box_that_sends_nothing(dashboard: Open, name: str, said: str) -> None:
    async with dashboard() as it:
        await it.select(name)
        assert said in it.page("load")


async def test_a_refused_stream_says_why(dashboard: Open) -> None:
    feed = fleets.fleet()
    feed.cells["id-train"].fail("refused", "the box does not accept devbox's key")
    async with dashboard(feed=feed) as it:
        await it.select("train")
        assert "✖ refused" in it.page("load")
        assert "does not accept devbox's key" in it.page("load")


async def test_jobs_tab_shows_progress_time_left_and_cost(dashboard: Open) -> None:
    async with dashboard() as it:
        await it.select("train")
        await it.press("2")
        for word in ("▶ running", "44% 61/140", "1m15s", "$0.4120", "✔ succeeded", "✖ failed",
                     "frame 61 of clip.mp4", "unknown"):  # fmt: skip
            assert word in it.text
        await it.press("enter", "end")
        assert "2 of 9 items failed" in it.text


async def test_jobs_tab_of_a_box_without_runs(dashboard: Open) -> None:
    async with dashboard() as it:
        await it.select("render")
        await it.press("2")
        assert "no run yet: r runs a job" in it.text


async def test_cost_tab(dashboard: Open) -> None:
    async with dashboard() as it:
        await it.select("train")
        await it.press("6")
        await it.until(lambda: "By day" in it.text)
        for word in ("$34.40/h + 1 unknown", "$38.85", "$76.85", "$31.60/h (live), for 1h02m",
                     "ends it in 6h", "2026-07-21", "$38.00", "+?"):  # fmt: skip
            assert word in it.text


async def test_events_tab_is_newest_first_and_says_things_once(dashboard: Open) -> None:
    async with dashboard() as it:
        await it.select("train")
        feed = it.feed
        feed.box_events["id-train"] *= 1
        await it.press("7")
        lines = it.page("events").splitlines()
        assert "run track-20260721-150001-abcd begins" in lines[0]
        assert "would pause in 5m" in lines[1]
        assert lines[-1].endswith("provisioning → starting")
        assert len(lines) == 4


async def test_sync_tab_compares_both_sides(dashboard: Open) -> None:
    async with dashboard() as it:
        await it.select("train")
        await it.press("5")
        await it.until(lambda: "results/model.pt" in it.text)
        for word in ("Only on the box, not here: 2", "Only here, not on the box: 1", "new.py",
                     "newer here", "train.py"):  # fmt: skip
            assert word in it.text


async def test_sync_tab_says_why_it_cannot_compare(dashboard: Open) -> None:
    async with dashboard(fails="no answer") as it:
        await it.select("train")
        await it.press("5")
        await it.until(lambda: "no answer (devbox doctor)" in it.text)
        await it.select("nightly")
        await it.until(lambda: "nightly is paused" in it.text)


async def test_logs_follow_hold_search_and_change_source(dashboard: Open) -> None:
    async with dashboard() as it:
        await it.select("train")
        await it.press("L")
        await it.until(lambda: "epoch 199" in it.text)
        assert "run log of train" in it.app.logs_pane.view.lines[0]
        assert "following" in it.text
        await it.press("k")
        assert "held" in it.text
        await it.press("full_stop")
        assert "following" in it.text
        await it.press("slash")
        await it.type("epoch 17")
        await it.until(lambda: "11 matches" in it.text)
        await it.press("enter")
        assert it.app.logs_pane.view.match == 180
        await it.press("n")
        assert it.app.logs_pane.view.match == 18
        await it.press("N")
        assert "11 of 11" in it.text
        await it.press("escape")
        assert it.app.logs_pane.view.words == ""
        assert it.app.in_details
        await it.press("v")
        await it.until(lambda: it.app.logs_pane.view.lines[:1] == ["box log of train"])
        await it.press("v")
        await it.until(lambda: it.app.logs_pane.view.lines[:1] == ["build log of train"])
        await it.press("escape")
        assert not it.app.in_details


async def test_a_log_that_is_followed_shows_its_end_at_any_size(dashboard: Open) -> None:
    async with dashboard(size=(120, 50)) as it:
        await it.select("train")
        await it.press("L")
        await it.until(lambda: "epoch 199" in it.text)
        for size in ((120, 30), (100, 45), (80, 24)):
            await it.pilot.resize_terminal(*size)
            await it.until(lambda: "epoch 199" in it.text, seconds=20)
        await it.press("k")
        await it.pilot.resize_terminal(120, 20)
        await it.pilot.pause()
        assert "held" in it.text
        assert "epoch 199" not in it.text


async def test_a_log_that_moved_before_its_bar_came_has_it_at_the_same_place(
    dashboard: Open,
) -> None:
    """Textual tells a bar of a move only while it shows it."""
    async with dashboard(size=(120, 50)) as it:
        await it.select("train")
        await it.press("L")
        await it.until(lambda: "epoch 199" in it.text)
        view = it.app.logs_pane.view
        view.show_vertical_scrollbar = False
        view.go(3)
        view.show_vertical_scrollbar = True
        assert view.vertical_scrollbar.position == view.scroll_y > 0
        view.show_vertical_scrollbar = False
        view.go(0)
        view.show_vertical_scrollbar = True
        assert view.vertical_scrollbar.position == view.scroll_y == 0


async def test_the_log_of_the_chosen_run(dashboard: Open) -> None:
    feed = fleets.fleet()
    async with dashboard(feed=feed) as it:
        await it.select("train")
        await it.press("2", "enter", "j", "L")
        await it.until(lambda: "track-20260721-150003-abcd" in it.page("log-head"))


async def test_a_flood_of_lines_is_bounded(dashboard: Open) -> None:
    lines = [f"line {n} " + "x" * 100 for n in range(30_000)]
    async with dashboard(log_lines=lines) as it:
        await it.select("train")
        await it.press("L")
        await it.until(lambda: "line 29999" in it.text)
        view = it.app.logs_pane.view
        assert len(view.lines) <= 24_000
        assert len(view.lines) + view.dropped == 30_001
        assert "older dropped" in it.text


async def test_a_new_run_state_is_drawn(dashboard: Open) -> None:
    async with dashboard() as it:
        await it.select("train")
        await it.press("2")
        it.feed.box_runs["id-train"] = [RunView(fakes.run(1, RunState.CANCELLED), 5)]
        await it.turn()
        assert "■ cancelled" in it.text


async def test_another_box_shows_its_own(dashboard: Open) -> None:
    async with dashboard() as it:
        for name in PANES:
            await it.select("train")
            await it.press(str(list(PANES).index(name) + 1))
            await it.select("nightly")
            assert it.app.view
            assert it.app.view.box.state is BoxState.PAUSED

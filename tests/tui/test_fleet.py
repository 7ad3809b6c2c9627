"""The fleet table: order, filter, marks, moving, the mouse, narrow terminals."""

from __future__ import annotations

import pytest

from devbox.model import BoxState
from devbox.tui.fleet import COLUMNS, SORTS
from devbox.tui.grid import laid_out
from tests.tui import fakes
from tests.tui.conftest import Open

BY_COLUMN = {
    "name": ["broken", "build", "gone", "lab", "nightly", "render", "train"],
    "state": ["lab", "render", "train", "build", "nightly", "broken", "gone"],
    "provider": ["build", "render", "broken", "gone", "nightly", "train", "lab"],
    "hardware": ["train", "broken", "build", "gone", "nightly", "render", "lab"],
    "uptime": ["build", "lab", "render", "train", "broken", "gone", "nightly"],
    "gpu": ["train", "lab", "render", "broken", "build", "gone", "nightly"],
    "vram": ["train", "lab", "render", "broken", "build", "gone", "nightly"],
    "cpu": ["lab", "render", "train", "broken", "build", "gone", "nightly"],
    "mem": ["lab", "render", "train", "broken", "build", "gone", "nightly"],
    "price": ["train", "render", "build", "broken", "gone", "lab", "nightly"],
    "today": ["train", "broken", "build", "gone", "nightly", "render", "lab"],
    "idle": ["render", "train", "broken", "build", "gone", "lab", "nightly"],
}


@pytest.mark.parametrize("column", SORTS)
async def test_shift_and_a_letter_sorts_and_again_turns_it_round(
    dashboard: Open, column: str
) -> None:
    async with dashboard() as it:
        it.app.fleet.sorting = ("", False)
        await it.press(SORTS[column].letter)
        assert it.names == BY_COLUMN[column]
        await it.press(SORTS[column].letter)
        known = it.names
        assert it.app.fleet.sorting == (column, True)
        # what is unknown stays last
        unknown = {"price": 4, "idle": 5, "uptime": 3, "gpu": 4, "vram": 4, "today": 1,
                   "cpu": 4, "mem": 4}  # fmt: skip
        tail = unknown.get(column, 0)
        if tail:
            assert known[-tail:] == BY_COLUMN[column][-tail:]


async def test_the_filter_narrows_as_one_types_and_escape_ends_it(dashboard: Open) -> None:
    async with dashboard() as it:
        await it.press("slash")
        await it.type("hf-s run")
        assert it.names == ["render"]
        assert "1 of 7" in it.text
        await it.press("enter")
        assert not it.app.filtering
        assert it.names == ["render"]
        await it.press("escape")
        assert len(it.names) == 7
        await it.press("slash")
        await it.type("zzz")
        assert it.names == []
        assert it.app.view is None
        await it.press("escape")
        assert len(it.names) == 7


async def test_moving_and_the_selected_box(dashboard: Open) -> None:
    async with dashboard() as it:
        await it.press("A")
        await it.press("home")
        assert it.selected == "broken"
        await it.press("j", "down")
        assert it.selected == "gone"
        await it.press("k", "up")
        assert it.selected == "broken"
        await it.press("end")
        assert it.selected == "train"
        await it.press("pageup")
        assert it.selected != "train"
        await it.press("pagedown")
        assert it.selected == "train"
        assert it.feed.looked[0] == "id-train"


async def test_the_cursor_stays_on_its_box_when_the_order_changes(dashboard: Open) -> None:
    async with dashboard() as it:
        await it.select("lab")
        await it.press("C")
        assert it.selected == "lab"
        it.feed.views = [view for view in it.feed.views if view.box.name != "train"]
        it.feed.now += 10
        await it.turn()
        assert it.selected == "lab"
        assert "train" not in it.names


async def test_marks_choose_several_and_can_be_taken_away(dashboard: Open) -> None:
    async with dashboard() as it:
        await it.press("A", "home", "space", "space")
        assert [view.box.name for view in it.app.fleet.targets()] == ["build", "broken"]
        assert "2 marked" in it.text
        assert it.text.count("◆") >= 2
        await it.press("ctrl+u")
        assert [view.box.name for view in it.app.fleet.targets()] == [it.selected]
        await it.press("space", "escape")
        assert it.app.fleet.marked == set()


async def test_the_mouse_selects_marks_sorts_and_opens(dashboard: Open) -> None:
    async with dashboard() as it:
        await it.press("A")
        await it.pilot.click("#fleet", offset=(20, 3))
        assert it.selected == "gone"
        await it.pilot.click("#fleet", offset=(0, 2))
        await it.pilot.pause()
        assert it.app.fleet.marked == {"id-build"}
        await it.pilot.click("#fleet", offset=(20, 0))
        await it.pilot.pause()
        assert it.app.fleet.sorting == ("name", True)
        await it.pilot.double_click("#fleet", offset=(20, 1))
        await it.pilot.pause()
        assert it.app.in_details
        await it.pilot.click("#tabs", offset=(12, 0))
        await it.pilot.pause()
        assert it.app.pane == "jobs"
        await it.pilot.click("#fleet", offset=(20, 30))


async def test_a_state_is_shape_and_word(dashboard: Open) -> None:
    async with dashboard() as it:
        for sign in ("● running", "◔ building", "○ paused", "✖ failed", "? lost"):
            assert sign in it.text


async def test_an_old_sample_shows_its_age_and_keeps_its_value(dashboard: Open) -> None:
    async with dashboard(size=(160, 40)) as it:
        assert "72% 42s old" in it.text
        it.feed.now += 60
        await it.turn()
        assert "72% 1m old" in it.text


async def test_eighty_by_twenty_four_is_usable(dashboard: Open) -> None:
    async with dashboard(size=(80, 24)) as it:
        for word in ("STATE", "NAME", "GPU", "$/H", "IDLE", "train", "? Help"):
            assert word in it.text
        assert all(len(line) <= 80 for line in it.text.splitlines())
        before = it.app.fleet.size.height
        await it.press("enter")
        assert it.app.in_details
        assert it.app.fleet.size.height < before
        await it.press("escape")
        assert it.app.fleet.size.height == before


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 160, 300])
def test_columns_fit_and_the_important_ones_stay(width: int) -> None:
    placed = laid_out(COLUMNS, width)
    names = [column.key for column, _ in placed]
    if width >= 70:
        assert sum(room + 1 for _, room in placed) <= width
    assert {"state", "name", "gpu", "price", "idle"} <= set(names)
    if width >= 160:
        assert len(names) == len(COLUMNS)


async def test_only_what_is_in_sight_is_drawn(dashboard: Open) -> None:
    views = [fakes.view(f"box-{n:03}") for n in range(100)]
    async with dashboard(feed=fakes.FakeFeed(views), size=(120, 30)) as it:
        await it.until(lambda: len(it.feed.looked[1]) > 5)
        seen = set(it.feed.looked[1])
        assert len(seen) < 20
        await it.press("end")
        await it.turn()
        assert "box-099" in it.text
        assert it.app.view
        assert it.app.view.box.name == "box-099"
        assert set(it.feed.looked[1]) != seen


async def test_no_boxes_says_what_to_do(dashboard: Open) -> None:
    async with dashboard(feed=fakes.FakeFeed()) as it:
        assert "no boxes: u brings one up" in it.text
        await it.press("j", "k", "space", "enter", "L", "4", "5", "6", "2", "1")
        assert it.app.view is None


async def test_work_of_another_devbox_shows_as_progress(dashboard: Open) -> None:
    view = fakes.view("b", BoxState.STARTING, goal="running", step="login", stage="RUNNING_APP")
    async with dashboard(feed=fakes.FakeFeed([view]), size=(160, 30)) as it:
        assert "◑ starting 4/5 RUNNING" in it.text

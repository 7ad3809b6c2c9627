"""Every action of the dashboard: what it asks, what it starts, what it refuses."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from textual.widgets import Button, Input, OptionList, Static

from devbox import paths
from devbox.model import BoxState
from devbox.tui import actions, settings
from tests.tui import fakes
from tests.tui.conftest import Open
from tests.tui.driver import Driven


async def _choose(it: Driven, row: int) -> None:
    """The row of the open list."""
    listing = it.app.screen.query_one(OptionList)
    listing.highlighted = row
    await it.press("enter")


async def test_up_shows_offers_and_prices_and_starts_the_chosen_one(dashboard: Open) -> None:
    async with dashboard() as it:
        await it.press("u")
        await it.until(lambda: it.dialog == "Choose")
        listed = it.app.screen.query_one(OptionList).options
        assert [str(option.prompt) for option in listed] == [
            "train  running",
            "new    local, not up",
        ]
        await _choose(it, 1)
        await it.until(lambda: "$0.59/h" in it.text)
        assert "t4" in it.text
        assert "at most 8h (max_uptime): $4.72" in it.text
        assert "above your" not in it.text
        await it.press("down")
        await it.until(lambda: "$31.60" in it.text)
        told = str(it.app.screen.query_one("#facts", Static).render())
        assert "it may cost up to $31.60 until max_uptime in 8h, above your $20" in told
        await it.press("enter", "enter")
        await it.until(lambda: it.operations.begun)
        assert it.operations.begun == [("up", "new", "--hardware", "h100", "--yes")]
        await it.until(lambda: "▶ up new" in it.text)


async def test_up_of_a_box_that_exists_finishes_it_at_once(dashboard: Open) -> None:
    async with dashboard() as it:
        await it.press("u")
        await it.until(lambda: it.dialog == "Choose")
        await _choose(it, 0)
        await it.until(lambda: it.operations.begun)
        assert it.operations.begun == [("up", "demo/train")]


async def test_up_of_a_box_that_is_paused_shows_its_price_first(dashboard: Open) -> None:
    async with dashboard(feed=fakes.FakeFeed([fakes.view("train", BoxState.PAUSED)])) as it:
        await it.press("u")
        await it.until(lambda: it.dialog == "Choose")
        await _choose(it, 0)
        await it.until(lambda: "train: cpu at $1.80/h (live)" in it.text)
        assert it.operations.begun == []
        await it.press("right", "enter")
        await it.until(lambda: it.operations.begun == [("up", "demo/train", "--yes")])


async def test_other_hardware_shows_its_price_before_it_bills(dashboard: Open) -> None:
    async with dashboard() as it:
        await it.select("nightly")
        await it.press("z")
        await it.until(lambda: any("only a box that runs" in told for told in it.told))
        await it.select("train")
        await it.press("z")
        await it.until(lambda: "$0.59/h" in it.text)
        await it.press("end")
        await it.until(lambda: "unknown (unknown)" in it.text)  # the price of the last one
        await it.press("k")
        await it.until(lambda: "at most 8h (max_uptime): $31.60" in it.text)
        await it.press("enter", "enter")
        await it.until(lambda: "it moves to h100" in it.text)
        assert it.operations.begun == []
        await it.until(lambda: "model.pt" in it.text)
        await it.press("right", "enter")
        await it.until(lambda: it.operations.begun)
        assert it.operations.begun == [("resize", "demo/train", "h100", "--yes")]


@pytest.mark.parametrize(("key", "kind"), [("ctrl+d", "down"), ("p", "pause")])
async def test_ending_and_pausing_say_what_is_lost_and_begin_at_cancel(
    dashboard: Open, key: str, kind: str
) -> None:
    async with dashboard() as it:
        await it.select("train")
        await it.press(key)
        await it.until(lambda: "model.pt" in it.text)
        assert "it costs $31.60/h (live)" in it.text
        assert "spent today: $32.65" in it.text
        assert isinstance(it.app.focused, Button)
        assert it.app.focused.id == "cancel"
        await it.press("enter")
        assert it.dialog == ""
        assert it.operations.begun == []
        for answer, save in (("save", True), ("leave", False)):
            await it.press(key)
            await it.until(lambda: it.dialog == "Confirm")
            await it.press("right", *(["right"] if not save else []))
            assert it.app.focused
            assert it.app.focused.id == answer
            await it.press("enter")
            begun = (kind, "demo/train", "--yes", *([] if save else ["--no-save"]))
            await it.until(partial(it.operations.begun.__contains__, begun))
        await it.press(key)
        await it.until(lambda: it.dialog == "Confirm")
        await it.press("escape")
        assert len(it.operations.begun) == 2


async def test_marked_boxes_are_ended_together(dashboard: Open) -> None:
    async with dashboard() as it:
        for name in ("train", "render"):
            await it.select(name)
            await it.press("space")
        await it.press("ctrl+d")
        await it.until(lambda: it.dialog == "Confirm")
        assert "End train, render?" in it.text
        await it.press("right", "enter")
        await it.until(lambda: len(it.operations.begun) == 2)
        assert {words[1] for words in it.operations.begun} == {"demo/train", "demo/render"}


async def test_losses_that_cannot_be_known_are_said_so(dashboard: Open) -> None:
    async with dashboard(fails="no answer") as it:
        await it.select("train")
        await it.press("ctrl+d")
        await it.until(lambda: "what is on it and not here is unknown: no answer" in it.text)
        assert it.app.focused
        assert it.app.focused.id == "cancel"


async def test_resume_keep_reconcile_and_doctor(dashboard: Open) -> None:
    async with dashboard() as it:
        await it.select("nightly")
        await it.press("w")
        await it.until(lambda: "nightly: cpu at $1.80/h" in it.text)
        assert it.operations.begun == []
        await it.press("right", "enter")
        await it.until(lambda: ("resume", "demo/nightly", "--yes") in it.operations.begun)
        await it.select("train")
        await it.press("K")
        await it.until(lambda: it.dialog == "Prompt")
        it.app.screen.query_one(Input).value = "soon"
        await it.press("enter")
        assert "is not a duration" in it.text
        it.app.screen.query_one(Input).value = "90m"
        await it.press("enter")
        await it.until(lambda: ("keep", "demo/train", "90m") in it.operations.begun)
        await it.press("ctrl+e")
        await it.until(lambda: ("reconcile",) in it.operations.begun)
        await it.press("x")
        await it.until(lambda: "ssh: OpenSSH" in it.text)
        assert "▲ no include" in it.text
        await it.press("escape")
        assert it.dialog == ""


@pytest.mark.parametrize(
    ("box", "key", "said"),
    [
        ("nightly", "p", "nothing to pause"),
        ("nightly", "R", "nothing to restart"),
        ("train", "w", "nothing to resume"),
        ("nightly", "K", "nothing to keep"),
        ("nightly", "y", "nothing to sync"),
        ("nightly", "r", "a job needs a running box"),
        ("nightly", "s", "box nightly is paused, not running"),
        ("nightly", "e", "bring it back with: devbox resume nightly"),
        ("nightly", "f", "box nightly is paused"),
        ("render", "c", "this box has no run yet"),
        ("render", "a", "this box has no run yet"),
        ("render", "o", "this box has no run yet"),
    ],
)
async def test_what_makes_no_sense_is_refused_with_a_reason(
    dashboard: Open, box: str, key: str, said: str
) -> None:
    async with dashboard() as it:
        await it.select(box)
        await it.press(key)
        await it.until(lambda: any(said in told for told in it.told))
        assert it.operations.begun == []


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (0, ("sync", "up", "demo/train")),
        (1, ("sync", "down", "demo/train")),
        (2, ("sync", "up", "demo/train", "--dry-run")),
        (3, ("sync", "down", "demo/train", "--dry-run")),
    ],
)
async def test_sync(dashboard: Open, row: int, words: tuple[str, ...]) -> None:
    async with dashboard() as it:
        await it.select("train")
        await it.press("y")
        await it.until(lambda: it.dialog == "Choose")
        await _choose(it, row)
        await it.until(lambda: it.operations.begun)
        assert it.operations.begun == [words]
        assert it.app.pane == "sync"
        work = it.operations.running()[0]
        work.take({"progress": (30, 60), "note": "80.1 MB/s  model.pt"})
        await it.turn()
        assert "50%" in it.text
        it.operations.finish(work, {"done": "3 files sent"})
        await it.turn()
        assert "✔" in it.page("sync")
        assert "3 files sent" in it.page("sync")


async def test_work_shows_output_and_stops_what_is_chosen(dashboard: Open) -> None:
    async with dashboard() as it:
        work = it.operations.start("up train", "train", "up", "train")
        work.take({"say": "train: local cpu at $1.00/h"})
        work.take({"step": "login"})
        await it.press("m")
        await it.until(lambda: it.dialog == "Work")
        assert "train: local cpu at $1.00/h" in it.text
        it.app.screen.query_one("#stop", Button).press()
        await it.until(lambda: it.operations.stopped == ["up train"])
        await it.press("escape")
        it.operations.finish(
            work, {"error": {"what": "it broke", "means": "nothing costs", "fix": "devbox up"}}
        )
        await it.turn()
        assert any("it broke  nothing costs  devbox up" in told for told in it.told)
        assert it.feed.hurried == ["id-train"]


async def test_readonly_changes_nothing(dashboard: Open) -> None:
    async with dashboard(readonly=True) as it:
        await it.select("train")
        changing = [action for action in actions.ACTIONS if action.changes]
        assert len(changing) > 15
        for action in changing:
            await it.press(action.keys.split(",")[0])
            assert it.dialog == ""
            assert it.told[-1] == f"{action.label}: this dashboard is read-only"
        assert it.operations.begun == []
        assert "read-only" in it.text
        for key in ("L", "1", "2", "slash", "escape", "question_mark"):
            await it.press(key)


async def test_display_pause_window_gpu_refresh_and_back(dashboard: Open) -> None:
    async with dashboard(size=(160, 48)) as it:
        await it.select("train")
        await it.press("F")
        assert "display held" in it.text
        it.feed.views = [fakes.view("other", BoxState.PAUSED)]
        await it.turn()
        assert "other" not in it.text
        ticks = it.feed.ticks
        await it.turn()
        assert it.feed.ticks > ticks
        await it.press("F")
        assert "other" in it.text


async def test_charts_change_their_window_and_gpu(dashboard: Open) -> None:
    async with dashboard(size=(160, 48)) as it:
        await it.select("train")
        assert "GPUs use" in it.page("load")
        assert "last 5m" in it.page("load")
        await it.press("t")
        assert "last 1h" in it.page("load")
        for number in range(8):
            await it.press("i")
            assert f"GPU {number} use" in it.page("load")
        await it.press("i", "t")
        assert "GPUs use" in it.page("load")
        await it.press("ctrl+r")
        assert len(it.feed.hurried) == 7


async def test_the_palette_finds_and_does_an_action(dashboard: Open) -> None:
    async with dashboard() as it:
        await it.select("nightly")
        for key in ("colon", "ctrl+p"):
            it.operations.begun.clear()
            await it.press(key)
            await it.until(lambda: it.dialog == "CommandPalette")
            await it.type("resume")
            await it.until(lambda: "Wake a paused box" in it.text)
            await it.press("enter")
            await it.until(lambda: it.dialog == "Confirm")
            await it.press("right", "enter")
            await it.until(lambda: ("resume", "demo/nightly", "--yes") in it.operations.begun)


async def test_the_theme_is_chosen_and_remembered(dashboard: Open) -> None:
    async with dashboard() as it:
        await it.press("ctrl+t")
        await it.until(lambda: it.dialog == "Choose")
        await _choose(it, 1)
        await it.until(lambda: it.app.theme == "devbox-light")
        assert settings.load().theme == "devbox-light"


async def test_help_opens_scrolls_and_closes(dashboard: Open) -> None:
    async with dashboard() as it:
        await it.press("question_mark")
        assert it.dialog == "Help"
        before = it.text
        await it.press("pagedown", "j")
        assert it.text != before
        await it.press("k", "pageup", "question_mark")
        assert it.dialog == ""


async def test_a_screenshot_is_saved_outside_the_project_and_fetches_no_font(
    dashboard: Open, home: Path
) -> None:
    async with dashboard() as it:
        it.asks.start = home / "project"
        it.asks.start.mkdir()
        await it.press("ctrl+s", "ctrl+s")
        await it.until(lambda: len(list(paths.home().glob("screenshots/*.svg"))) == 2)
        assert not list(it.asks.start.iterdir())
        for file in paths.home().glob("screenshots/*.svg"):
            assert any(f"saved {file}" in told for told in it.told)
            assert "url(" not in file.read_text().replace("url(#", "")


@pytest.mark.parametrize("key", ["q", "ctrl+q"])
async def test_quit_ends_the_feed(dashboard: Open, key: str) -> None:
    async with dashboard() as it:
        await it.press(key)
        await it.until(lambda: it.feed.stopped)
        assert it.app._exit


async def test_the_new_box_is_selected_once_it_shows(dashboard: Open) -> None:
    async with dashboard() as it:
        await it.press("u")
        await it.until(lambda: it.dialog == "Choose")
        await _choose(it, 1)
        await it.until(lambda: "$0.59/h" in it.text)
        await it.press("enter", "enter")
        await it.until(lambda: it.operations.begun)
        it.feed.views = [*it.feed.views, fakes.view("new", BoxState.PROVISIONING)]
        await it.turn()
        assert it.selected == "new"
        await it.press("k")
        await it.turn()
        assert it.selected != "new"


async def test_an_offer_takes_one_row(dashboard: Open) -> None:
    async with dashboard(size=(80, 24)) as it:
        await it.press("u")
        await it.until(lambda: it.dialog == "Choose")
        await _choose(it, 1)
        await it.until(lambda: "$3.95/h" in it.text)
        rows = it.text.splitlines()
        (first,) = (n for n, row in enumerate(rows) if "✔ t4" in row)
        assert "h100" in rows[first + 1]

"""What dialogs do with answers that take their time."""

from __future__ import annotations

import threading

import pytest
from textual.widgets._toast import Toast

from devbox.tui import main_screen
from devbox.tui.screens.ask import Confirm
from devbox.tui.screens.dialog import Dialog
from devbox.tui.screens.doctor import Doctor
from devbox.tui.screens.up import Up
from devbox.wire.messages import Check
from tests.tui import fakes
from tests.tui.conftest import Open


@pytest.mark.parametrize("kind", ["confirm", "doctor", "up"])
async def test_an_answer_after_the_dialog_was_closed_harms_nothing(
    dashboard: Open, kind: str
) -> None:
    async with dashboard() as it:
        gate = threading.Event()

        def late() -> list[str]:
            assert gate.wait(30)
            return []

        dialogs: dict[str, Dialog[object]] = {
            "confirm": Confirm("End it?", [], (), late),  # type: ignore[dict-item]
            "doctor": Doctor("train", late),  # type: ignore[dict-item, arg-type]
            "up": Up("Bring it up", "Up", late),  # type: ignore[dict-item, arg-type]
        }
        dialog = dialogs[kind]
        it.app.push_screen(dialog)
        await it.until(lambda: it.dialog)
        workers = list(it.app.workers)
        # its widgets go before its workers do: the answer comes in between
        await dialog.query_one("#dialog").remove()
        it.app.pop_screen()
        gate.set()
        await it.until(lambda: all(worker.is_finished for worker in workers))
        assert it.dialog == ""


async def test_a_long_form_keeps_its_buttons_in_sight(dashboard: Open) -> None:
    async with dashboard(size=(80, 24)) as it:
        await it.press("r")
        await it.until(lambda: it.dialog == "Choose")
        await it.choose("track")
        await it.until(lambda: it.dialog == "Form")
        await it.until(lambda: "video" in it.text)
        (line,) = (line for line in it.text.splitlines() if "Cancel" in line)
        assert "Run" in line


async def test_what_is_long_is_told_whole_in_a_narrow_terminal(dashboard: Open) -> None:
    async with dashboard(feed=fakes.FakeFeed([fakes.view("lab")]), size=(60, 24)) as it:
        fix = "take hardware with a GPU, since nothing here can do without the driver of one"
        it.asks.doctor = lambda box: [Check("warn", "no driver", fix)]  # type: ignore[method-assign]
        await it.press("x")
        await it.until(lambda: "no driver" in it.text)
        told = " ".join(line.strip(" │") for line in it.text.splitlines())
        assert fix in " ".join(told.split())
        await it.press("escape", "question_mark")
        await it.until(lambda: it.dialog == "Help")
        told = " ".join(line.strip(" │▃▁▅▇█") for line in it.text.splitlines())
        assert "says first what is kept and what would be lost" in " ".join(told.split())


async def test_the_work_dialog_lists_work_and_its_output(dashboard: Open) -> None:
    async with dashboard() as it:
        work = it.operations.start("up train", "train", "up", "train")
        work.lines.append("asking the provider")
        await it.press("m")
        await it.until(lambda: "asking the provider" in it.text)
        assert "WORK" in it.text
        (row,) = (line for line in it.text.splitlines() if "│" in line and "up train" in line)
        assert "▶" in row


@pytest.mark.parametrize("key", ["ctrl+d", "m", "x", "question_mark"])
async def test_notices_and_progress_stay_in_sight_below_a_dialog(dashboard: Open, key: str) -> None:
    """In a small terminal the dialog covers the place of both on the screen behind it."""
    async with dashboard(size=(80, 24)) as it:
        await it.select("train")
        work = it.operations.start("up render", "render", "up", "render")
        await it.press(key)
        await it.until(lambda: it.dialog)
        for share in (0.25, 0.5):
            work.share = share
            await it.turn()
            assert f"up render {share:.0%}" in it.text.splitlines()[-1]
        it.app.tell("the disk of train is full  " + "it stops " * 8 + "devbox doctor", "error")
        await it.until(lambda: "devbox doctor" in it.text)
        dialog = it.app.screen.query_one("#dialog").region
        told = it.app.screen.query_one("#told").region
        assert not dialog.intersection(told)
        assert dialog.y >= 0
        assert not [toast for toast in it.app.screen.query(Toast) if toast.region.area]
        assert it.text.count("the disk of train is full") == 1
        assert any("Cancel" in line or "Close" in line for line in it.text.splitlines())
        it.feed.now += main_screen.STAYS["error"] + 1
        await it.turn()
        assert "devbox doctor" not in it.text
        await it.press("escape")
        await it.until(lambda: not it.dialog)
        assert any("the disk of train is full" in told for told in it.told)

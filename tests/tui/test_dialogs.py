"""What dialogs do with answers that take their time."""

from __future__ import annotations

import threading

import pytest

from devbox.tui.screens.confirm import Confirm
from devbox.tui.screens.dialog import Dialog
from devbox.tui.screens.doctor import Doctor
from devbox.tui.screens.up import Up
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

        it.asks.choice = lambda name: late()  # type: ignore[assignment, return-value, method-assign]
        dialogs: dict[str, Dialog[object]] = {
            "confirm": Confirm("End it?", [], (), late),  # type: ignore[dict-item]
            "doctor": Doctor("train", late),  # type: ignore[dict-item, arg-type]
            "up": Up(it.asks, "train"),  # type: ignore[dict-item]
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

"""Whatever a box sends is drawn as harmless text: no markup, no escape sequence, no overflow."""

from __future__ import annotations

import re

import msgspec
import pytest

from devbox import text_layout
from devbox.model import BoxState, Event, RunState
from devbox.sync.status import Difference, File
from devbox.tui.feed import RunView
from devbox.tui.operation_manager import Operation
from devbox.wire.messages import BoxEvent, Process
from tests.core.hostile import ALL
from tests.tui import fakes, fleets
from tests.tui.conftest import Open

NASTY = [
    "[red]markup[/red] [/] [link=file:///etc/passwd]x[/link] [@click=app.quit]x[/]",
    "\x1b[2J\x1b]0;title\x07\x1b[31mred\x9b1m",
    "a\r\nb\tc\x00\x08",
    "\u202egnp.exe\u2066",
    "x" * 5_000_000,
    "한글 \U0001f680 e\u0301\u200d",
    b"\xff\xfe broken".decode(errors="replace"),
    "$(reboot) `id` {text} %s",
]
BAD = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.mark.parametrize("text", NASTY)
async def test_hostile_text_everywhere(dashboard: Open, text: str) -> None:
    cut = text[:2000]
    feed = fleets.fleet()
    view = fakes.view("evil", hardware=cut, message=cut, stage=cut, goal="running", step="login")
    feed.views = [view, fakes.view("worse", BoxState.FAILED, message=cut)]
    cell = feed.fill(view, 1)
    gpu = fakes.gpu(0, 0, name=cut, throttle=(cut,), processes=(Process(1, cut, 5),))
    cell.put(fakes.sample(9999, feed.now, gpus=(gpu,), jobs=(cut,)), feed.now)
    cell.put(BoxEvent(1, feed.now, cut, cut), feed.now)
    cell.error = cut
    status = msgspec.json.encode(
        {"message": text_layout.plain(cut), "unit": "x", "progress": [1, 2],
         "failures": [{"item": text_layout.plain(cut), "error": text_layout.plain(cut)}]}
    )  # fmt: skip
    feed.box_runs["id-evil"] = [
        RunView(fakes.run(1, RunState.FAILED, status, id=text_layout.plain(cut)), 1)
    ]
    feed.recent = [entry.run for entry in feed.box_runs["id-evil"]]
    feed.box_events["id-evil"] = [Event(1, "id-evil", feed.now, cut, cut)]
    feed.error = cut
    lost = [text, text]
    async with dashboard(feed=feed, size=(120, 40), log_lines=[text] * 50, lost=lost) as it:
        difference = Difference("evil", cut, cut, (File(cut, 1, 1.0),), (File(cut, 1, 1.0),))
        it.asks.difference = lambda box: difference  # type: ignore[method-assign]
        await it.select("evil")
        work = it.operations.start(cut, "evil", "up", "evil")
        work.take({"say": text})
        it.app.tell(text, "error", title=cut)
        for key in ("1", "2", "l", "4", "5", "6"):
            await it.press(key)
            await it.turn()
            _check(it.text)
        await it.press("escape", "ctrl+d")
        await it.until(lambda: it.dialog == "Confirm")
        await it.until(lambda: "looking what is unsynced" not in it.text)
        _check(it.text)
        await it.press("escape", "m")
        _check(it.text)
        await it.press("escape")
        it.operations.finish(work, {"error": {"what": text, "means": text, "fix": text}})
        await it.turn()
        _check(it.text)
        assert not it.app._exit


async def test_markup_is_shown_as_it_is(dashboard: Open) -> None:
    async with dashboard(log_lines=["[red]loss[/red] [/b]"]) as it:
        await it.select("train")
        await it.press("L")
        await it.until(lambda: "[red]loss[/red] [/b]" in it.text)
        it.app.tell("[bold]not bold[/]")
        await it.until(lambda: "[bold]not bold[/]" in it.text)


@pytest.mark.parametrize("text", ALL)
def test_any_text_becomes_one_bounded_harmless_line(text: str) -> None:
    for width in (0, 1, 7, 80):
        fitted = text_layout.fit(text_layout.plain(text), width)
        assert text_layout.width_of([(fitted, "")]) == width
        assert not BAD.search(fitted)
        assert "\n" not in fitted


def test_an_operation_takes_any_line_of_its_log() -> None:
    operation = Operation("k", "up", "up b", "b", 0.0)
    for text in NASTY:
        operation.take({"say": text})
        assert not BAD.search(operation.note.replace("\n", ""))
        assert len(operation.note) <= 500


def _check(text: str) -> None:
    assert not BAD.search(text.replace("\n", ""))
    assert "devbox" in text

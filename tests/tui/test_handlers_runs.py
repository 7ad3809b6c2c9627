"""Actions of runs and connections: forms, cancel, shell, editor, forward."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Button, Input, Select

from devbox.remote import keys
from devbox.tui import queries
from tests.tui.conftest import Open


@pytest.fixture(autouse=True)
def key(home: Path) -> None:
    """This computer's ssh key: a fleet that runs was made with one."""
    keys.ensure_identity()


async def test_a_job_runs_from_a_form_made_of_its_job_toml(dashboard: Open, home: Path) -> None:
    (home / "clip.mp4").write_bytes(b"x")
    async with dashboard(size=(120, 50)) as it:
        await it.select("train")
        await it.press("r")
        await it.until(lambda: "Follow people's faces" in it.text)
        await it.choose("track ")
        await it.until(lambda: it.dialog == "Form")
        for word in ("video *", "engine", "min_size", "smallest face, in pixels"):
            assert word in it.text
        await it.press("tab")
        start = it.app.screen.query_one("#start", Button)
        start.press()
        await it.until(lambda: "job track needs --video PATH" in it.text)
        it.app.screen.query_one("#f-video", Input).value = str(home / "clip.mp4")
        it.app.screen.query_one("#f-min_size", Input).value = "64"
        start.press()
        await it.until(lambda: it.operations.begun)
        started = it.operations.begun[0]
        assert started[:6] == ("run", "track", "--box", "demo/train", "--detach", "--")
        words = {f"--video={home / 'clip.mp4'}", "--min-size=64", "--engine=cascade"}
        assert words <= set(started[6:])
        await it.until(lambda: it.app.pane == "jobs")


async def test_a_command_of_ones_own(dashboard: Open) -> None:
    async with dashboard() as it:
        await it.select("train")
        await it.press("r")
        await it.until(lambda: it.dialog == "Choose")
        await it.press("end", "enter")
        await it.until(lambda: it.dialog == "Form")
        field = it.app.screen.query_one(Input)
        field.value = "echo 'unclosed"
        it.app.screen.query_one("#start", Button).press()
        await it.until(lambda: "No closing quotation" in it.text)
        field.value = "python train.py --lr '3 e'"
        it.app.screen.query_one("#start", Button).press()
        await it.until(lambda: it.operations.begun)
        words = ("python", "train.py", "--lr", "3 e")
        started = ("run", "--box", "demo/train", "--detach", "--", *words)
        assert it.operations.begun == [started]


async def test_what_the_box_does_after_a_run_is_chosen_in_its_form(dashboard: Open) -> None:
    async with dashboard() as it:
        await it.select("train")
        await it.press("r")
        await it.until(lambda: it.dialog == "Choose")
        await it.press("end", "enter")
        await it.until(lambda: it.dialog == "Form")
        it.app.screen.query_one(Input).value = "true"
        it.app.screen.query_one("#when-ended", Select).value = "pause"
        it.app.screen.query_one("#start", Button).press()
        await it.until(lambda: it.operations.begun)
        assert it.operations.begun == [
            ("run", "--box", "demo/train", "--then", "pause", "--detach", "--", "true")
        ]


async def test_an_empty_command_starts_nothing(dashboard: Open) -> None:
    async with dashboard() as it:
        await it.select("train")
        await it.press("r")
        await it.until(lambda: it.dialog == "Choose")
        await it.press("end", "enter")
        await it.until(lambda: it.dialog == "Form")
        it.app.screen.query_one("#start", Button).press()
        await it.until(lambda: any("no command was given" in told for told in it.told))
        assert it.operations.begun == []


async def test_runs_are_cancelled_retried_and_fetched(dashboard: Open) -> None:
    running, done = "track-20260721-150001-abcd", "track-20260721-150003-abcd"
    async with dashboard() as it:
        await it.select("train")
        await it.press("c")
        await it.until(lambda: f"End run {running}?" in it.text)
        assert "it cost $0.4120 so far" in it.text
        assert it.app.focused
        assert it.app.focused.id == "cancel"
        await it.press("right", "enter")
        await it.until(lambda: ("cancel", running) in it.operations.begun)
        await it.press("a")
        await it.until(lambda: any("c ends it" in told for told in it.told))
        await it.press("2", "enter", "j")
        assert it.app.jobs_pane.run
        assert it.app.jobs_pane.run.id == done
        await it.press("c")
        await it.until(lambda: any("succeeded already" in told for told in it.told))
        await it.press("a", "o")
        await it.until(lambda: ("attach", done, "--no-wait") in it.operations.begun)
        assert ("retry", done, "--detach") in it.operations.begun


async def test_the_shell_gets_the_terminal_and_gives_it_back(
    dashboard: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[Any] = []

    @contextmanager
    def suspend(self: object) -> Iterator[None]:
        order.append("suspended")
        yield
        order.append("back")

    def run(line: list[str], check: bool) -> None:
        order.append(line[-1])

    async with dashboard() as it:
        monkeypatch.setattr(type(it.app), "suspend", suspend)
        monkeypatch.setattr(subprocess, "run", run)
        await it.select("train")
        await it.press("s")
        await it.until(lambda: "back" in order)
        assert order == ["suspended", "devbox-train", "back"]


async def test_a_shell_where_there_is_no_terminal_names_the_command(
    dashboard: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with dashboard() as it:
        assert it.app._driver
        monkeypatch.setattr(type(it.app._driver), "can_suspend", False)
        await it.select("train")
        await it.press("s")
        await it.until(lambda: any("devbox ssh train" in told for told in it.told))


async def test_the_editor_is_opened_and_its_link_told(dashboard: Open) -> None:
    async with dashboard() as it:
        await it.select("train")
        await it.press("e")
        await it.until(lambda: any("ssh-remote+devbox-train" in told for told in it.told))
        assert it.asks.edited == ["train"]


async def test_a_forward_is_work_that_can_be_stopped(
    dashboard: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports: list[str] = []

    def forward(box: Any, line: str, ready: Any, stop: Any, service: Any) -> None:
        ports.append(line)
        ready("127.0.0.1:9000")
        while not stop():
            pass

    monkeypatch.setattr(queries, "forward", forward)
    async with dashboard() as it:
        await it.select("train")
        await it.press("f")
        await it.until(lambda: it.dialog == "Prompt")
        it.app.screen.query_one(Input).value = "http"
        await it.press("enter")
        assert "is not [LOCAL:]REMOTE" in it.text
        it.app.screen.query_one(Input).value = "9000:8888"
        await it.press("enter")
        await it.until(lambda: "answers on 127.0.0.1:9000" in it.text)
        (work,) = it.operations.running()
        assert work.stop
        work.stop()
        await it.until(lambda: work.state == "done")
        assert ports == ["9000:8888"]

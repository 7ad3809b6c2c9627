"""One run closely, and services as services."""

from __future__ import annotations

import json

from textual.widgets import Input

from devbox.model import RunState
from devbox.remote import keys
from devbox.tui.feed import RunView
from tests.tui import fakes, fleets
from tests.tui.conftest import Open

FAILED = "track-20260721-150005-abcd"
REQUEST = {
    "request": {"id": "r", "job": "track", "command": ["python", "go.py", "my clip"],
                "args": {"lr": 0.1}, "inputs": {"video": "in/clip.mp4"}},
    "sources": {"video": "/home/me/clip.mp4"},
}  # fmt: skip


def _feed() -> fakes.FakeFeed:
    feed = fleets.fleet()
    status = {"state": "failed", "message": "2 of 9 items failed", "attempt": 2,
              "attempts": [{"started": fakes.NOW - 90, "ended": fakes.NOW - 30}],
              "failures": [{"item": "a.mp4", "error": "no frames"}]}  # fmt: skip
    failed = fakes.run(5, RunState.FAILED, json.dumps(status).encode(), exit_code=3,
                       request=json.dumps(REQUEST).encode())  # fmt: skip
    web = fakes.run(
        7, RunState.RUNNING,
        json.dumps({"state": "running", "attempts": [{"started": fakes.NOW - 60}],
                    "service": {"port": 8123, "ready": True, "since": fakes.NOW}}).encode(),
        job="web", request=b'{"request":{"id":"w","job":"web","service":{}},"sources":{}}',
    )  # fmt: skip
    feed.box_runs["id-train"] = [RunView(web, 5_000), RunView(failed, None)]
    return feed


async def test_a_run_that_failed_tells_all_of_itself(dashboard: Open) -> None:
    async with dashboard(feed=_feed(), size=(80, 50)) as it:
        await it.select("train")
        await it.press("2", "enter", "enter")
        await it.until(lambda: it.dialog == "RunDetail" and "epoch 0" in it.text)
        said = " ".join(it.text.replace("│", " ").split())
        for words in (
            FAILED, "✖ failed", "2 of 9 items failed", "python go.py 'my clip'", "lr = 0.1",
            "video = /home/me/clip.mp4 (on the box: in/clip.mp4)", "exit code 3", "box train",
            "duration 1m, attempt 2", "cost unknown", "a.mp4: no frames",
        ):  # fmt: skip
            assert words in said
        await it.press("G")
        await it.until(lambda: "epoch 199" in it.text)
        await it.press("q")
        assert it.dialog == ""


async def test_a_run_that_is_queued_says_what_it_waits_for(dashboard: Open) -> None:
    feed = fleets.fleet()
    why = "waits for 2 GPUs, 1 free: held by prepare-1"
    status = {"state": "queued", "queue": {"since": fakes.NOW - 60, "waits_for": "gpus",
              "why": why, "place": 2}}  # fmt: skip
    waits = fakes.run(5, RunState.QUEUED, json.dumps(status).encode())
    begun = fakes.run(6, RunState.RUNNING, b'{"state": "running", "gpus": ["GPU-1a", "GPU-2b"]}')
    feed.box_runs["id-train"] = [RunView(waits, None), RunView(begun, 5)]
    async with dashboard(feed=feed, size=(100, 50)) as it:
        await it.select("train")
        await it.press("2", "enter")
        await it.until(lambda: f"{why} (2nd in line)" in " ".join(it.text.split()))
        assert "◌ queued" in it.text
        await it.press("down")
        await it.until(lambda: "on GPU-1a, GPU-2b" in it.text)


async def test_a_log_that_cannot_be_read_hides_nothing_else(dashboard: Open) -> None:
    async with dashboard(feed=_feed(), fails="no answer", size=(80, 50)) as it:
        await it.select("train")
        await it.press("2", "enter", "enter")
        await it.until(lambda: "no answer" in it.text and "devbox doctor" in it.text)
        assert "my clip" in it.text


async def test_a_service_shows_its_health_and_port_and_is_stopped(dashboard: Open) -> None:
    keys.ensure_identity()
    async with dashboard(feed=_feed()) as it:
        await it.select("train")
        await it.press("2")
        assert "web" not in it.text.split("RUN")[-1]  # it is no run of a job
        await it.press("3", "enter")
        (row,) = (line for line in it.text.splitlines() if "ready" in line)
        assert row.split()[:3] == ["web", "ready", "8123"]
        await it.press("f")
        await it.until(lambda: it.dialog == "Prompt")
        assert it.app.screen.query_one(Input).value == "8123"
        await it.press("escape", "c")
        await it.until(lambda: "Stop service web?" in it.text)
        await it.press("right", "enter")
        await it.until(lambda: it.operations.begun)
        assert it.operations.begun == [("services", "stop", "web", "--box", "demo/train")]

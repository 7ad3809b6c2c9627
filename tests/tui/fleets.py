"""Fleets that exist nowhere, for pictures and measurements."""

from __future__ import annotations

from devbox.model import (
    BoxState,
    Event,
    Price,
    RunState,
)
from devbox.tui.feed import RunView
from devbox.wire.messages import (
    BoxEvent,
)
from tests.tui.fakes import NOW, FakeFeed, run, verdict, view


def fleet() -> FakeFeed:
    """A handful of boxes in every interesting state."""
    train = view("train", hardware="8xh100", provider="modal", price=Price(31_600_000, "live"),
                 today=32_650_000)  # fmt: skip
    idle = view("render", hardware="l40s", provider="hf-space", price=Price(1_800_000, "live"))
    cut = view("lab", hardware="rtx-4090", provider="ssh", price=Price(None, "unknown"), today=None)
    views = [
        train,
        idle,
        cut,
        view(
            "build",
            BoxState.BUILDING,
            provider="hf-space",
            stage="BUILDING",
            goal="running",
            step="observe",
        ),
        view("nightly", BoxState.PAUSED, provider="local"),
        view("broken", BoxState.FAILED, message="ERROR: no matching distribution for torch==9"),
        view("gone", BoxState.LOST, message="the provider no longer knows it"),
    ]
    feed = FakeFeed(views)
    feed.fill(train, 8)
    feed.fill(idle, 1)
    feed.fill(cut, 1)
    feed.cells[cut.box.id].fail("cut", "the telemetry of lab cannot be reached")
    feed.cells[cut.box.id]._heard_at = NOW - 42
    feed.verdicts[train.box.id] = verdict()
    feed.verdicts[idle.box.id] = verdict("warned", 271.0)
    feed.cells[train.box.id].put(BoxEvent(1, NOW - 500, "warning", "would pause in 5m"), NOW)
    status = (
        b'{"state":"running","progress":[61,140],"unit":"frames","eta":75,"attempt":1,'
        b'"attempts":[{"started":%d}],"counts":{"total":1},"note":"frame 61 of clip.mp4"}'
        % (NOW - 64)
    )
    feed.box_runs[train.box.id] = [
        RunView(run(1, RunState.RUNNING, status), 412_000),
        RunView(run(3, RunState.SUCCEEDED), 96_000),
        RunView(run(5, RunState.FAILED, b'{"message":"2 of 9 items failed"}'), None),
    ]
    feed.recent = [entry.run for entry in feed.box_runs[train.box.id]]
    feed.box_events[train.box.id] = [
        Event(1, train.box.id, NOW - 3800, "state", "provisioning → starting"),
        Event(2, train.box.id, NOW - 3720, "state", "starting → running"),
        Event(3, train.box.id, NOW - 64, "run", "run track-20260721-150001-abcd begins"),
    ]
    return feed


def busy() -> FakeFeed:
    """A morning's work: a dozen boxes that compute, and on the first of them many runs."""
    kinds = [("modal", "8xh100", 8), ("hf-space", "l40s", 1), ("ssh", "rtx-4090", 2)]
    views = []
    for number in range(12):
        provider, hardware, _ = kinds[number % 3]
        name = "train" if number == 0 else f"worker-{number:02}"
        price = Price(31_600_000 if number % 3 == 0 else 1_800_000, "live")
        views.append(view(name, provider=provider, hardware=hardware, price=price))
    feed = FakeFeed(views)
    for number, each in enumerate(views):
        feed.fill(each, kinds[number % 3][2])
        near = number % 4 == 3
        feed.verdicts[each.box.id] = verdict("idle", 1500.0) if near else verdict()
    moving = (
        b'{"state":"running","progress":[%d,5000],"unit":"steps","eta":%d,"attempt":2,'
        b'"attempts":[{"started":%d}],"counts":{"total":40,"done":12,"failed":1},'
        b'"note":"step %d of 5000, checkpoint 12 of 40 written to results/checkpoint-12"}'
    )
    done = (
        b'{"state":"succeeded","progress":[5000,5000],"unit":"steps",'
        b'"attempts":[{"started":%d,"ended":%d}]}'
    )
    rows = [
        RunView(run(n, RunState.RUNNING, moving % (900 * n, 600 * n, NOW - 640, 900 * n)), 412_000)
        for n in range(1, 5)
    ]
    rows += [
        RunView(run(n, RunState.SUCCEEDED, done % (NOW - 900 * n, NOW - 900 * n + 700)), 96_000 * n)
        for n in range(5, 10)
    ]
    feed.box_runs["id-train"] = rows
    return feed


BUSY_LOG = [
    f"[2026-07-21 15:0{n % 10}:12] step {n * 10:>5}/5000  loss 0.{4000 - n:04}  lr 3.0e-04  "
    f"grad 0.{n + 210:04}  {1234 + n % 7} tokens/s"
    for n in range(400)
]

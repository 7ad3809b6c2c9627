"""What a box goes through until it runs, and what is said where it does not: without a real box."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devbox import lifecycle
from devbox.errors import BuildFailed, ProviderError, TimedOut, UsageError
from devbox.model import BoxState, Price
from devbox.providers import registry
from devbox.providers.base import Provider
from devbox.workspace import Workspace
from tests.lifecycle.cloud import COMMAND, MINUTE, Cloud, Pausing, a_project, told

QUEUED = {"state": BoxState.PROVISIONING, "stage": "QUEUED"}
RUNS = {"state": BoxState.RUNNING}


@pytest.fixture
def ws(home: Path, cloud: Pausing) -> Workspace:
    return a_project(home, cloud)


def test_nobody_waits_for_a_machine_any_more(ws: Workspace, cloud: Pausing) -> None:
    """It is taken back from the queue, so that it cannot begin to cost later."""
    cloud.queues = True
    cloud.stages = [QUEUED]
    ws.start_timeout = MINUTE
    lines = told(ws)
    with pytest.raises(TimedOut, match="still QUEUED after 1m") as caught:
        lifecycle.up(ws, "b")
    assert caught.value.means.startswith("it was taken back from the queue, so that it cannot")
    assert "devbox up b --timeout 2m" in caught.value.fix
    assert ws.box("b").state is BoxState.PAUSED
    assert any("taking it back from the queue" in line for line in lines)
    assert ws.store.ledger.of_box(ws.box("b").id) == []


def test_one_that_only_starts_slowly_is_left_to_start(ws: Workspace, cloud: Pausing) -> None:
    cloud.stages = [{"state": BoxState.STARTING}]
    ws.start_timeout = MINUTE
    with pytest.raises(TimedOut, match="still starting after 1m"):
        lifecycle.up(ws, "b")
    assert ws.box("b").state is BoxState.STARTING
    cloud.show("h1", state=BoxState.RUNNING)
    assert lifecycle.up(ws, "b").state is BoxState.RUNNING
    assert len(cloud.there) == 1


def test_ctrl_c_in_a_queue_takes_the_request_back(ws: Workspace, cloud: Pausing) -> None:
    cloud.queues = True
    cloud.stages = [QUEUED]

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    ws.sleep = interrupt
    with pytest.raises(KeyboardInterrupt):
        lifecycle.up(ws, "b")
    assert ws.box("b").state is BoxState.PAUSED


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        ({"state": BoxState.FAILED, "message": "exit 1"}, "b: did not start: failed: exit 1"),
        (
            {"state": BoxState.FAILED, "stage": "ERROR", "message": "exit 1", "billed": True},
            "b: its command failed: ERROR: exit 1",
        ),
    ],
)
def test_a_command_that_failed_says_whether_it_ran(
    ws: Workspace, cloud: Pausing, stage: dict[str, object], said: str
) -> None:
    cloud.stages = [stage]
    with pytest.raises(BuildFailed) as caught:
        lifecycle.up(ws, "b")
    assert caught.value.what == said
    assert caught.value.fix == "devbox down b; fix the cause, then: devbox up b"
    (event,) = [e for e in ws.store.events.of_box(ws.box("b").id) if e.kind == "build-failed"]
    assert event.message == said


def test_one_that_stops_while_it_starts_is_no_success(ws: Workspace, cloud: Pausing) -> None:
    cloud.stages = [{"state": BoxState.PAUSED, "message": "the account has no credit"}]
    with pytest.raises(ProviderError) as caught:
        lifecycle.up(ws, "b")
    assert caught.value.what == "b became paused while starting: the account has no credit"
    assert caught.value.fix == "devbox up b"


def test_a_build_is_told_of_until_it_is_over(
    ws: Workspace, cloud: Pausing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What its log says later is not; nor that it cannot be read any more."""
    cloud.stages = [{"state": BoxState.BUILDING}, {"state": BoxState.BUILDING}, RUNS]
    cloud.log = ("Step 1/2", "Step 2/2")
    lines = told(ws)
    box = lifecycle.up(ws, "b")
    assert [line for line in lines if "|" in line] == ["b | Step 1/2", "b | Step 2/2"]
    lifecycle.down(ws, box)

    cloud.fail("build_logs", ProviderError("no log"))
    box = lifecycle.up(ws, "b")
    assert "b: its build log cannot be read: no log" in lines
    lifecycle.down(ws, box)

    for ending in (None, ProviderError("cut")):
        late, done = threading.Event(), threading.Event()

        def build_logs(
            handle: str,
            *,
            follow: bool,
            late: threading.Event = late,
            done: threading.Event = done,
            ending: Exception | None = ending,
        ) -> Iterator[str]:
            try:
                assert late.wait(60)
                if ending:
                    raise ending
                yield "Step 2/2"
            finally:
                done.set()

        lines.clear()
        monkeypatch.setattr(cloud, "build_logs", build_logs)
        cloud.stages = [{"state": BoxState.BUILDING}]
        ws.start_timeout = 1.0
        with pytest.raises(TimedOut):
            lifecycle.up(ws, "b")
        late.set()
        assert done.wait(60)
        assert [line for line in lines if "|" in line or "log" in line] == []
        lifecycle.down(ws, ws.box("b"))


def test_a_build_without_a_log_is_waited_for(home: Path) -> None:
    cloud = Cloud()
    cloud.stages = [{"state": BoxState.BUILDING}, RUNS]
    lines = told(ws := a_project(home, cloud))
    assert lifecycle.up(ws, "b").state is BoxState.RUNNING
    assert not [line for line in lines if "|" in line or "log" in line]


def test_a_price_that_was_old_is_asked_for_once_it_is_up(
    ws: Workspace, cloud: Pausing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bill began at a price that was known from earlier."""

    def renew_prices() -> bool:
        cloud.show("h1", price=Price(9_000_000, "live"))
        return True

    monkeypatch.setattr(cloud, "renew_prices", renew_prices)
    box = lifecycle.up(ws, "b")
    assert box.price.micro_per_hour == 9_000_000
    (interval,) = ws.store.ledger.of_box(box.id)
    assert interval.price.micro_per_hour == 9_000_000


def test_a_command_where_boxes_are_for_logging_in_is_refused(
    ws: Workspace, cloud: Pausing, monkeypatch: pytest.MonkeyPatch
) -> None:
    able = {"local": cloud, "hf-job": Cloud()}
    cloud.runs_commands = False

    def which(can: Callable[[Provider], bool]) -> tuple[str, ...]:
        return tuple(name for name, provider in able.items() if can(provider))

    monkeypatch.setattr(registry, "which", which)
    with pytest.raises(UsageError, match="b cannot be a command") as caught:
        lifecycle.up(ws, "b")
    assert caught.value.means == "nothing was started"
    assert caught.value.fix == (
        'provider = "hf-job"; or leave command out and: devbox run --box b -- …'
    )
    assert ws.store.boxes.all(over=True) == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "b: image their/own, for its hardware; another one: image in devbox.toml"),
        ('image = "my/own"\n', "b: image my/own"),
    ],
)
def test_the_image_is_told_and_who_chose_it(
    home: Path, cloud: Pausing, monkeypatch: pytest.MonkeyPatch, line: str, said: str
) -> None:
    monkeypatch.setattr(cloud, "default_image", lambda hardware: "their/own")
    ws = a_project(home, cloud, toml=COMMAND + line)
    lines = told(ws)
    lifecycle.up(ws, "b")
    assert said in lines
    (asked,) = cloud.requests
    assert asked.spec.image == said.split()[2].strip(",")


def test_what_stands_in_the_way_of_gated_weights_is_told_before_a_box_is_made(
    home: Path, cloud: Pausing
) -> None:
    gated = '[checkpoints.w]\nsource = "https://x.test/w.pt"\npath = "w.pt"\ngated = true\n'
    ws = a_project(home, cloud, toml=COMMAND + gated)
    lines = told(ws)
    lifecycle.up(ws, "b")
    assert lines[0] == (
        "checkpoint w is gated; whether you may read it is unknown: it is not on the Hub"
    )

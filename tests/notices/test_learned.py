"""What this computer learns of a box, and nobody here asked for, becomes news."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from devbox import lifecycle
from devbox.errors import BuildFailed
from devbox.model import BoxState, Offer
from devbox.notify import news
from devbox.providers.base import Observation, Provider, Request
from devbox.providers.local.provider import Local
from devbox.spec import BoxSpec, LocalSettings, Spec
from devbox.workspace import Workspace
from tests.core.test_state import a_box


class Fake(Provider):
    """shows: the state of whatever is asked for. resources: what it lists."""

    name = "local"

    def __init__(self) -> None:
        self.shows = BoxState.RUNNING
        self.resources: list[Observation] = []

    def observe(self, handle: str) -> Observation:
        return Observation(handle, "b", f"t-{handle}", self.shows)

    def offers(self) -> list[Offer]:
        return Local(LocalSettings()).offers()

    def create(self, request: Request) -> str:
        raise BuildFailed("the image did not build: step 4")

    def find(self, token: str | None = None) -> list[Observation]:
        return self.resources

    def terminate(self, handle: str) -> None:
        raise AssertionError("nothing is ended here")


@pytest.fixture
def fake() -> Fake:
    return Fake()


@pytest.fixture
def ws(home: Path, fake: Fake) -> Iterator[Workspace]:
    found = Spec(project="p", root=home, boxes={"b": BoxSpec(provider="local")})
    workspace = Workspace(found, providers=[fake], clock=lambda: 5000.0)
    yield workspace
    workspace.store.close()


def kinds(ws: Workspace) -> list[str]:
    """Of the notices that it comes to."""
    boxes = {box.id: box for box in ws.store.boxes.all(over=True)}
    found = ws.store.events.news(0, news.EVENTS)
    return [told.kind for each in found if (told := news.notice(each, boxes.get(each.box_id)))]


@pytest.mark.parametrize(
    ("shows", "told"),
    [
        (BoxState.PAUSED, ["paused"]),
        (BoxState.TERMINATED, ["ended"]),
        (BoxState.FAILED, ["ended"]),
        (BoxState.STARTING, []),
        (BoxState.RUNNING, []),
    ],
)
def test_a_box_that_stopped_by_itself_is_news(
    ws: Workspace, fake: Fake, shows: BoxState, told: list[str]
) -> None:
    box = a_box("b", handle="h", state=BoxState.RUNNING)
    ws.store.boxes.finish(ws.store.boxes.insert(box, "running", {}, 1.0), "done", 1.0)
    fake.shows = shows
    lifecycle.refresh(ws, [box])
    lifecycle.refresh(ws, ws.store.boxes.all(over=True))
    assert kinds(ws) == told


def test_a_pause_that_was_asked_for_here_is_no_news(ws: Workspace, fake: Fake) -> None:
    box = a_box("b", handle="h", state=BoxState.RUNNING)
    ws.store.boxes.finish(ws.store.boxes.insert(box, "running", {}, 1.0), "done", 1.0)
    ws.store.boxes.begin(box.id, "paused", {}, 2.0)
    fake.shows = BoxState.PAUSED
    lifecycle.refresh(ws, [box])
    assert kinds(ws) == []


def test_a_build_that_failed_is_news(ws: Workspace) -> None:
    with pytest.raises(BuildFailed):
        lifecycle.up(ws, "b")
    (event,) = ws.store.events.news(0, ("build-failed",))
    assert event.message == "the image did not build: step 4"


def test_a_resource_that_nobody_tracks_is_news(ws: Workspace, fake: Fake) -> None:
    box = a_box("b", handle="h", state=BoxState.RUNNING)
    ws.store.boxes.finish(ws.store.boxes.insert(box, "running", {}, 1.0), "done", 1.0)
    fake.resources = [Observation("other", "b2", "another-token", BoxState.RUNNING)]
    lifecycle.reconcile(ws)
    (event,) = ws.store.events.news(0, ("orphan",))
    assert event.message == "b2 (other, running) at local carries our tag and may cost"

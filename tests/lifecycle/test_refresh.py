"""Many boxes looked at together: all at once, and no faster than their providers allow."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devbox import lifecycle
from devbox.errors import Unavailable
from devbox.model import Box, BoxState
from devbox.providers.base import Observation, Provider, Request
from devbox.spec import Spec
from devbox.workspace import Workspace
from tests.core.test_state import a_box

MANY = 100
Answer = Callable[[str], Observation]


class Fake(Provider):
    """Answers `observe` through a function of the test."""

    name = "local"

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[str] = []

    def observe(self, handle: str) -> Observation:
        self.asked.append(handle)
        return self.answer(handle)

    def offers(self) -> list[object]:  # type: ignore[override]
        raise AssertionError("a refresh only observes")

    def create(self, request: Request) -> str:
        raise AssertionError("a refresh only observes")

    def find(self, token: str | None = None) -> list[Observation]:
        raise AssertionError("a refresh only observes")

    def terminate(self, handle: str) -> None:
        raise AssertionError("a refresh only observes")


@pytest.fixture
def fake() -> Fake:
    return Fake(running)


@pytest.fixture
def ws(home: Path, fake: Fake) -> Iterator[Workspace]:
    workspace = Workspace(Spec(root=home), providers=[fake], clock=lambda: 50.0)
    yield workspace
    workspace.store.close()


def boxes(ws: Workspace, count: int = MANY) -> list[Box]:
    made = [a_box(f"box-{index}", handle=f"h{index}") for index in range(count)]
    for box in made:
        ws.store.boxes.insert(box, "running", {}, 1.0)
    return made


def running(handle: str) -> Observation:
    return Observation(handle, "b", f"t-{handle}", BoxState.RUNNING)


def test_all_are_asked_at_once(ws: Workspace, fake: Fake) -> None:
    together = threading.Barrier(MANY, timeout=60)

    def answer(handle: str) -> Observation:
        together.wait()
        return running(handle)

    fake.answer = answer
    assert {box.state for box in lifecycle.refresh(ws, boxes(ws))} == {BoxState.RUNNING}


def test_a_rate_limit_is_waited_for_and_only_the_refused_ask_again(
    ws: Workspace, fake: Fake
) -> None:
    quota, lock, waits = [30], threading.Lock(), []

    def answer(handle: str) -> Observation:
        with lock:
            if not quota[0]:
                raise Unavailable("too many", retry_after=7.0)
            quota[0] -= 1
        return running(handle)

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        quota[0] = 40

    fake.answer, ws.sleep = answer, sleep
    fresh = lifecycle.refresh(ws, boxes(ws))
    assert {box.state for box in fresh} == {BoxState.RUNNING}
    assert not [box for box in fresh if box.unreachable]
    assert waits == [7.0, 7.0]
    assert len(fake.asked) == 100 + 70 + 30


def test_a_limit_that_lasts_leaves_the_boxes_as_they_were(ws: Workspace, fake: Fake) -> None:
    def answer(handle: str) -> Observation:
        raise Unavailable("too many", retry_after=900.0)

    fake.answer, ws.sleep = answer, lambda _: None
    fresh = lifecycle.refresh(ws, boxes(ws, 3))
    assert {box.unreachable for box in fresh} == {"too many"}
    assert len(fake.asked) == 3


def test_a_provider_that_does_not_answer_is_waited_for_once(home: Path) -> None:
    waits: list[float] = []

    def down(_: str) -> Observation:
        raise Unavailable("the Hub did not answer")

    ws = Workspace(Spec(root=home), providers=[Fake(down)], clock=lambda: 50.0, sleep=waits.append)
    boxes(ws, 5)
    findings = lifecycle.reconcile(ws)
    assert [f.kind for f in findings if f.name.startswith("box-")] == ["failed"] * 10
    assert all("did not answer" in finding.detail for finding in findings)
    assert (findings[-1].name, findings[-1].kind) == ("-", "failed")
    assert sum(waits) < 20  # one box's retries; five boxes would take five times that
    ws.store.close()

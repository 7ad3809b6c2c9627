"""What a look at boxes finds that ended, paused or came back by themselves, and what is said of
it."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest

from devbox import lifecycle, paths
from devbox.errors import AuthError, Conflict, DevboxError, NoAnswer, NotFound, Unavailable
from devbox.lifecycle.operation import Wait
from devbox.model import UNKNOWN_PRICE, Box, BoxState, Endpoint, Interval
from devbox.remote.config import ssh_config
from devbox.workspace import Workspace
from tests.boxes import rewrite
from tests.core.test_state import a_box
from tests.lifecycle.cloud import HOUR, MINUTE, Pausing, a_project, told


@pytest.fixture
def ws(home: Path, cloud: Pausing) -> Workspace:
    return a_project(home, cloud)


def messages(ws: Workspace, box: Box, kind: str) -> list[str]:
    return [event.message for event in ws.store.events.of_box(box.id) if event.kind == kind]


def silent(box: Box) -> NoAnswer:
    return NoAnswer(f"{box.name} does not answer", box=box.id)


def test_one_that_was_lost_and_is_there_again_lives_on(ws: Workspace, cloud: Pausing) -> None:
    box = lifecycle.up(ws, "b")
    gone = cloud.there.pop(box.handle)
    cloud.clock.advance(MINUTE)
    (lost,) = lifecycle.refresh(ws, [box])
    (interval,) = ws.store.ledger.of_box(box.id)
    assert interval.end == lost.seen == box.seen, "it is known of until then"
    assert (lost.state, messages(ws, box, "found-ended")) == (
        BoxState.LOST,
        ["it is lost, and was not ended from here: the provider no longer knows it"],
    )
    cloud.there[box.handle] = gone
    cloud.clock.advance(MINUTE)
    lines = told(ws)
    (back,) = lifecycle.find_lost(ws)
    assert back.state is BoxState.RUNNING
    assert lines == ["b: its provider shows it again: running"]
    (interval,) = ws.store.ledger.of_box(box.id)
    assert interval.end is None, "it has cost all the while"


def test_a_stretch_that_nobody_saw_is_billed_afterwards_and_once(
    ws: Workspace, cloud: Pausing
) -> None:
    cloud.stages = [{"state": BoxState.STARTING}]
    box = lifecycle.up(ws, "b", wait=False)
    cloud.show(box.handle, state=BoxState.RUNNING)
    cloud.clock.advance(HOUR)
    cloud.show(box.handle, state=BoxState.PAUSED)
    cloud.clock.advance(HOUR)
    for _ in range(2):
        (box,) = lifecycle.refresh(ws, [box])
        assert box.state is BoxState.PAUSED
        (interval,) = ws.store.ledger.of_box(box.id)
        assert interval.end == ws.clock() - HOUR
        assert interval.end - interval.start == HOUR


def test_one_that_comes_back_beside_its_successor_gets_another_name(
    ws: Workspace, cloud: Pausing
) -> None:
    box = lifecycle.up(ws, "b")
    gone = cloud.there.pop(box.handle)
    lifecycle.refresh(ws, [box])
    cloud.fail("observe", AuthError("who is asking?"))
    lines = told(ws)
    second = lifecycle.up(ws, "b")
    assert second.id != box.id
    asked = "b: the earlier box, which was lost, cannot be asked for: who is asking?"
    assert asked in lines
    cloud.there["h9"] = gone._replace(handle="h9")
    rewrite(ws.store, msgspec.structs.replace(ws.store.boxes.named("b")[1], handle="h9"))
    cloud.clock.advance(MINUTE)
    lines.clear()
    (back,) = lifecycle.find_lost(ws)
    assert back.name == f"b-{box.id[:4]}"
    assert lines == [f"b: its provider shows it again: running, as {back.name}"]


def test_a_box_that_moved_is_found_by_ssh_again(
    ws: Workspace, cloud: Pausing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That it is not is no reason to fail a look."""
    box = lifecycle.up(ws, "b")
    cloud.show(box.handle, endpoint=Endpoint("new.test", 2222))
    (moved,) = lifecycle.refresh(ws, [box])
    assert moved.endpoint == Endpoint("new.test", 2222)
    assert "HostName new.test" in paths.ssh_config().read_text()

    def full(*_: object, **__: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(ssh_config, "publish", full)
    cloud.show(box.handle, endpoint=Endpoint("newer.test", 2222))
    lines = told(ws)
    (moved,) = lifecycle.refresh(ws, [box])
    assert moved.endpoint == Endpoint("newer.test", 2222)
    assert lines == ["b: its new ssh address is not in place: no space left"]


def test_a_limit_that_comes_again_is_waited_for_three_times(ws: Workspace, cloud: Pausing) -> None:
    box = lifecycle.up(ws, "b")
    cloud.fail("observe", Unavailable("too many", retry_after=7.0), times=9)
    began = ws.clock()
    (seen,) = lifecycle.refresh(ws, [box])
    assert (seen.state, seen.unreachable) == (BoxState.RUNNING, "too many")
    assert ws.clock() - began == 3 * 7.0


def test_a_box_that_is_over_or_has_no_place_stops_no_other_look(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = lifecycle.up(ws, "b")
    over = a_box("over", state=BoxState.TERMINATED)
    elsewhere = a_box("elsewhere", handle="h7", provider="docker")
    real = ws.provider_of

    def provider_of(box: Box) -> object:
        if box.provider == "docker":
            raise AuthError("its settings lead nowhere")
        return real(box)

    monkeypatch.setattr(ws, "provider_of", provider_of)
    found = lifecycle.refresh(ws, [over, elsewhere, box])
    assert [each.unreachable for each in found] == ["", "its settings lead nowhere", ""]
    assert found[0] == over
    assert found[2].seen == ws.clock()


def test_a_box_that_does_not_answer_is_asked_about(ws: Workspace, cloud: Pausing) -> None:
    box = lifecycle.up(ws, "b")
    error = silent(box)
    assert lifecycle.why_silent(ws, error) is error, "its provider says that it runs"
    cloud.show(box.handle, state=BoxState.STARTING)
    told_of = lifecycle.why_silent(ws, error)
    assert isinstance(told_of, Conflict)
    assert (told_of.what, told_of.fix) == (
        "b is starting, not running",
        "wait for it with: devbox status b --wait",
    )
    assert lifecycle.why_silent(ws, error) is error, "it is known by now"
    other = DevboxError("something else")
    assert lifecycle.why_silent(ws, other) is other
    cloud.show(box.handle, state=BoxState.RUNNING)
    lifecycle.refresh(ws, [ws.box("b")])
    cloud.fail("observe", AuthError("no right"))
    assert lifecycle.why_silent(ws, error) is error


@pytest.mark.parametrize(("ago", "form"), [(MINUTE, "%H:%M"), (30 * HOUR, "%d %b %H:%M")])
def test_one_that_paused_itself_says_when(
    ws: Workspace, cloud: Pausing, ago: float, form: str
) -> None:
    box = lifecycle.up(ws, "b")
    cloud.clock.advance(HOUR)
    cloud.show(box.handle, state=BoxState.PAUSED)
    at = time.strftime(form, time.localtime(ws.clock()))
    cloud.clock.advance(ago)
    found = lifecycle.why_silent(ws, silent(box))
    assert found.what == f"b paused itself at {at}, or was paused from another computer"
    assert found.fix == "bring it back with: devbox resume b"
    assert messages(ws, box, "found-paused") == ["it is paused, and was not from here"]


def test_one_that_vanished_has_no_time_of_its_end(ws: Workspace, cloud: Pausing) -> None:
    box = lifecycle.up(ws, "b")
    del cloud.there[box.handle]
    found = lifecycle.why_silent(ws, silent(box))
    assert isinstance(found, NotFound)
    assert (found.what, found.fix) == (
        "b ended: the provider no longer knows it",
        "make it again with: devbox up b",
    )


def test_a_wait_at_an_unknown_price_says_so(ws: Workspace, cloud: Pausing) -> None:
    box = lifecycle.up(ws, "b")
    wait = Wait(ws, box, "starting", None)
    cloud.clock.advance(MINUTE)
    wait.now(
        "starting", Interval(1, box.id, "b", "local", "small", UNKNOWN_PRICE, ws.clock(), None)
    )
    assert wait.line() == "b: starting for 1m; it costs, at an unknown price"


def test_a_wait_is_handed_to_who_shows_it(ws: Workspace) -> None:
    """In place of the lines that would be narrated."""
    waits: list[tuple[str, bool]] = []
    kept: list[Wait] = []

    def on_wait(wait: object) -> None:
        assert isinstance(wait, Wait)
        kept.append(wait)
        waits.append((wait.parts()[0], wait.is_over))

    ws.on_wait, lines = on_wait, told(ws)
    lifecycle.down(ws, lifecycle.up(ws, "b"))
    assert waits == [
        ("being asked for", False),
        ("running", False),
        ("being looked at", False),
        ("being looked at", False),
        ("being ended", False),
        ("stopping", False),
    ]
    assert all(wait.is_over for wait in kept)
    assert [line for line in lines if line.startswith(("b: running", "b: stopping"))] == []

"""A create whose answer was lost: what it may have made is looked for, ended and paid for."""

from __future__ import annotations

from pathlib import Path

import pytest

from devbox import lifecycle
from devbox.errors import AuthError, NotFound, ProviderError, Unavailable
from devbox.lifecycle.operation import working_on
from devbox.model import Box, BoxState
from devbox.providers.base import Request
from devbox.state.costs import run_cost
from devbox.workspace import Workspace
from tests.lifecycle.cloud import HOUR, MINUTE, Cloud, Pausing, a_project, told

DAY = 24 * HOUR


class Killed(BaseException):
    """The process is gone."""


@pytest.fixture
def cloud() -> Cloud:
    made = Cloud()
    made.may_double, made.create_lag, made.find_lag = True, MINUTE, MINUTE
    return made


@pytest.fixture
def ws(home: Path, cloud: Cloud) -> Workspace:
    return a_project(home, cloud)


def cut_off(ws: Workspace, cloud: Cloud) -> Box:
    """`up` was killed after its create took effect, before the answer came."""
    cloud.fail("create", after=Killed())
    with pytest.raises(Killed):
        lifecycle.up(ws, "b")
    (box,) = ws.store.boxes.all()
    assert (box.handle, box.unanswered_tries) == ("", 1)
    assert lifecycle.account_unanswered(ws) == []
    return box


def spent(ws: Workspace) -> int | None:
    """Micro-dollars of all rows until now."""
    rows = [
        each for box in ws.store.boxes.all(over=True) for each in ws.store.ledger.of_box(box.id)
    ]
    return run_cost(rows, 0, ws.clock())


def test_a_refused_create_shows_as_failed_with_the_reason(ws: Workspace, cloud: Cloud) -> None:
    cloud.fail("create", ProviderError("no quota", means="nothing was made", fix="ask for more"))
    with pytest.raises(ProviderError) as caught:
        lifecycle.up(ws, "b")
    box = ws.box("b")
    assert (box.state, box.message, box.unanswered) == (BoxState.FAILED, "no quota", None)
    assert caught.value.means.endswith("nothing was made")
    assert lifecycle.up(ws, "b").state is BoxState.RUNNING


def test_a_create_that_is_never_answered_fails_nothing_yet(ws: Workspace, cloud: Cloud) -> None:
    cloud.fail("create", Unavailable("no answer"), times=6)
    with pytest.raises(Unavailable):
        lifecycle.up(ws, "b")
    box = ws.box("b")
    assert (box.state, box.unanswered_tries) == (BoxState.PROVISIONING, 6)
    assert box.unanswered == ws.clock()


def test_what_another_computer_made_under_the_name_is_joined(ws: Workspace, cloud: Cloud) -> None:
    cloud.may_double = False
    lifecycle.up(ws, "b", wait=False)
    with ws.store.database.write() as connection:  # as another computer, which has no row of it
        connection.execute("DELETE FROM intents")
        connection.execute("DELETE FROM boxes")
    lines = told(ws)
    box = lifecycle.up(ws, "b")
    (seen,) = cloud.there.values()
    assert (box.token, box.handle, box.state) == (seen.token, seen.handle, BoxState.RUNNING)
    assert "b: joined the box that another computer made" in lines


def test_an_end_looks_for_what_may_still_appear(ws: Workspace, cloud: Cloud) -> None:
    box = cut_off(ws, cloud)
    cloud.hidden.add("h1")
    began, lines = ws.clock(), told(ws)

    def sleep(seconds: float) -> None:
        cloud.clock.advance(seconds)
        if ws.clock() - began >= 30:
            cloud.hidden.clear()

    ws.sleep = sleep
    assert lifecycle.down(ws, box).state is BoxState.TERMINATED
    assert len([line for line in lines if "it may still appear and cost" in line]) == 1
    assert cloud.there["h1"].state is BoxState.TERMINATED
    assert ws.store.boxes.open_intents() == []


def test_an_end_of_what_never_appears_ends_in_time(ws: Workspace, cloud: Cloud) -> None:
    box = cut_off(ws, cloud)
    cloud.there.clear()
    began = ws.clock()
    assert lifecycle.down(ws, box).state is BoxState.TERMINATED
    assert ws.clock() - began == 2 * MINUTE
    assert "terminate" not in cloud.calls
    assert lifecycle.down(ws, ws.box("b")).state is BoxState.TERMINATED
    cloud.calls.clear()
    assert lifecycle.observe_now(ws, ws.box("b")).state is BoxState.TERMINATED
    assert cloud.calls == []


def doubled(ws: Workspace, cloud: Cloud) -> Box:
    """Two are there: no listing showed the first one when it was asked for again."""
    cut_off(ws, cloud)
    cloud.hidden.add("h1")
    box = lifecycle.up(ws, "b")
    assert (box.handle, sorted(cloud.there)) == ("h2", ["h1", "h2"])
    cloud.hidden.clear()
    return box


def test_an_end_ends_the_second_one_too_and_pays_for_both(ws: Workspace, cloud: Cloud) -> None:
    box = doubled(ws, cloud)
    cloud.clock.advance(HOUR)
    lines = told(ws)
    assert lifecycle.down(ws, box).state is BoxState.TERMINATED
    assert {seen.state for seen in cloud.there.values()} == {BoxState.TERMINATED}
    ended = "a second one of it, h1, is ended too"
    assert f"b: {ended}: the answer to a create was lost" in lines
    assert ended in [event.message for event in ws.store.events.of_box(box.id)]
    assert spent(ws) == 2 * 3_600_000
    assert [row.message for row in ws.store.boxes.named("b") if row.id != box.id] == [
        "a second one, made by a create without an answer"
    ]
    lifecycle.account_unanswered(ws)
    assert spent(ws) == 2 * 3_600_000, "counted once"


def test_a_second_one_that_does_not_end_is_told_and_tried_again(
    ws: Workspace, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = doubled(ws, cloud)
    with monkeypatch.context() as patch:
        patch.setattr(cloud, "terminate", lambda handle: None)
        with pytest.raises(ProviderError, match="h1 still runs after 5 minutes") as caught:
            lifecycle.down(ws, box)
    assert "may cost" in caught.value.means
    assert caught.value.fix == "devbox reconcile tries again"
    assert ws.box("b").state is BoxState.STOPPING
    assert [finding.kind for finding in lifecycle.reconcile(ws)] == ["finished"]
    assert {seen.state for seen in cloud.there.values()} == {BoxState.TERMINATED}


def test_an_end_without_a_second_one_waits_until_none_can_appear(
    ws: Workspace, cloud: Cloud
) -> None:
    cloud.fail("create", Unavailable("cut"))
    box = lifecycle.up(ws, "b")
    assert (box.handle, box.unanswered_tries) == ("h1", 1)
    asked = box.unanswered
    assert asked is not None
    assert lifecycle.down(ws, box).state is BoxState.TERMINATED
    assert ws.clock() >= asked + 2 * MINUTE


def test_what_ran_beside_the_box_is_found_while_both_run(ws: Workspace, cloud: Cloud) -> None:
    """It counts once it is over, and is asked about for as long as it is there."""
    doubled(ws, cloud)
    cloud.clock.advance(2 * DAY)
    assert lifecycle.account_unanswered(ws) == []
    assert ws.box("b").unanswered is not None
    cloud.terminate("h1")
    at_once = cloud.there["h1"]._replace(handle="h0", ended_at=cloud.there["h1"].billed_since)
    cloud.past.append(at_once)
    (line,) = [each.line for each in lifecycle.account_unanswered(ws)]
    assert line.startswith("h1 ran for 2d")
    assert "cost $172.8" in line
    assert ws.box("b").unanswered is None
    assert lifecycle.account_unanswered(ws) == []


def test_what_a_create_made_is_asked_about_for_a_day(ws: Workspace, cloud: Cloud) -> None:
    cut_off(ws, cloud)
    box = lifecycle.up(ws, "b")
    assert box.handle == "h1"
    asked = box.unanswered
    lifecycle.account_unanswered(ws)
    assert ws.box("b").unanswered == asked
    cloud.clock.advance(DAY + MINUTE)
    lifecycle.account_unanswered(ws)
    assert ws.box("b").unanswered is None


def test_earlier_lives_that_no_look_saw_are_counted(ws: Workspace, cloud: Cloud) -> None:
    """One name is one resource there: an earlier life of it was over before it was looked at."""
    cloud.may_double = False
    box = cut_off(ws, cloud)
    cloud.clock.advance(HOUR)
    cloud.show("h1", state=BoxState.FAILED)
    cloud.clock.advance(HOUR)
    first = cloud.there.pop("h1")
    cloud.past.append(first)
    cloud.past.append(first._replace(handle="never", billed_since=None, ended_at=None))
    box = lifecycle.up(ws, "b")
    lines = [event.message for event in ws.store.events.of_box(box.id)]
    assert any("h1 ran for 1h and ended by itself, cost $3.60" in line for line in lines)
    assert spent(ws) == 3_600_000
    lifecycle.account_unanswered(ws)
    assert spent(ws) == 3_600_000


def test_what_cannot_be_known_now_is_told_and_stays_open(ws: Workspace, cloud: Cloud) -> None:
    box = doubled(ws, cloud)
    assert lifecycle.account_unanswered(ws, provider="docker") == []
    cloud.fail("history", AuthError("no right"))
    (found,) = lifecycle.account_unanswered(ws)
    assert found.failed
    assert found.line == "what a create without an answer made is not known: no right"
    assert ws.box("b").unanswered is not None
    with working_on(ws, box):
        assert lifecycle.account_unanswered(ws) == [], "left for the next look"


def test_a_box_that_ended_is_over_before_anything_is_made(ws: Workspace, cloud: Cloud) -> None:
    box = lifecycle.up(ws, "b")
    cloud.terminate(box.handle)
    lines = told(ws)
    again = lifecycle.up(ws, "b")
    assert (again.id != box.id, again.handle) == (True, "h2")
    assert "b: the earlier box is terminated; making a new one" in lines
    with pytest.raises(NotFound, match="b is terminated"):
        lifecycle.pause(ws, lifecycle.down(ws, again))


def test_a_look_meanwhile_that_found_it_is_not_undone(
    ws: Workspace, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dashboard looks while `up` still waits for the answer to its create."""
    create = cloud.create
    seen: list[float | None] = []

    def create_slowly(asked: Request) -> str:
        handle = create(asked)
        for _ in range(2):
            lifecycle.observe_now(ws, ws.box("b"))
            asked.asking()  # before a further call of the same create
            seen.append(ws.box("b").unanswered)
        return handle

    monkeypatch.setattr(cloud, "create", create_slowly)
    assert lifecycle.up(ws, "b").unanswered is None
    assert seen == [None, None]


def test_a_second_try_of_a_resume_counts_what_the_first_began(home: Path) -> None:
    """The computer slept between them, and the box had paused itself again."""
    cloud = Pausing()
    ws = a_project(home, cloud)
    lifecycle.pause(ws, lifecycle.up(ws, "b"))
    cloud.clock.advance(HOUR)
    cloud.fail("resume", after=Unavailable("cut"))

    def sleep(seconds: float) -> None:
        cloud.clock.advance(HOUR)
        cloud.show("h1", state=BoxState.PAUSED)
        cloud.clock.advance(HOUR)

    ws.sleep = sleep
    box = lifecycle.resume(ws, ws.box("b"))
    assert box.state is BoxState.RUNNING
    stretches = ws.store.ledger.of_box(box.id)
    assert [each.end and each.end - each.start for each in stretches] == [0.0, HOUR, None]

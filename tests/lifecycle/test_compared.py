"""`reconcile` without a real box: goals that are open, boxes that changed, what nobody tracks."""

from __future__ import annotations

from pathlib import Path

import pytest

from devbox import lifecycle
from devbox.errors import AuthError, BuildFailed, DevboxError, ProviderError, Unavailable
from devbox.lifecycle.operation import working_on
from devbox.model import UNKNOWN_PRICE, BoxState, Endpoint
from devbox.workspace import Workspace
from tests.lifecycle.cloud import COMMAND, HOUR, MINUTE, Cloud, Pausing, a_project


class Killed(BaseException):
    """The process is gone."""


@pytest.fixture
def ws(home: Path, cloud: Pausing) -> Workspace:
    return a_project(home, cloud)


def kinds(found: list[lifecycle.Finding]) -> list[tuple[str, str]]:
    return [(each.kind, each.name) for each in found]


def cut_off(ws: Workspace, cloud: Cloud, call: str = "create") -> None:
    """`up` was killed after that call took effect."""
    cloud.fail(call, after=Killed())
    with pytest.raises(Killed):
        lifecycle.up(ws, "b")


def forget_rows(ws: Workspace) -> None:
    """As on a computer that never made a box."""
    with ws.store.database.write() as connection:
        for table in ("intents", "boxes", "intervals"):
            connection.execute(f"DELETE FROM {table}")


def test_goals_of_one_provider_are_finished_and_others_left(ws: Workspace, cloud: Pausing) -> None:
    cut_off(ws, cloud)
    assert lifecycle.reconcile(ws, provider="docker", wanted="list")[0].kind == "failed"
    assert ws.box("b").handle == ""
    (found,) = lifecycle.reconcile(ws)
    assert (found.kind, found.detail) == ("finished", "running: now running")
    assert lifecycle.reconcile(ws) == []


def test_a_change_that_nobody_asked_for_is_told(ws: Workspace, cloud: Pausing) -> None:
    box = lifecycle.up(ws, "b")
    cloud.show(box.handle, state=BoxState.PAUSED)
    (found,) = lifecycle.reconcile(ws)
    assert (found.kind, found.detail, found.box_id) == ("changed", "running → paused", box.id)
    gone = cloud.there.pop(box.handle)
    (found,) = lifecycle.reconcile(ws)
    assert found.detail == "paused → lost"
    cloud.there[box.handle] = gone
    cloud.clock.advance(1)
    (found,) = lifecycle.reconcile(ws)
    assert found.detail == "lost → paused: it is there again"


def test_what_a_lost_answer_made_is_told_once_it_is_over(ws: Workspace, cloud: Pausing) -> None:
    cloud.may_double = True
    cut_off(ws, cloud)
    cloud.hidden.add("h1")
    lifecycle.up(ws, "b")
    cloud.clock.advance(HOUR)
    cloud.show("h1", state=BoxState.FAILED)
    cloud.hidden.clear()
    found = lifecycle.reconcile(ws)[0]
    assert found.kind == "changed"
    assert found.detail.startswith("h1 ran for 1h and ended by itself, cost $3.60")
    cloud.fail("history", AuthError("no right"))
    found = lifecycle.reconcile(ws)[0]
    assert (found.kind, found.detail) == (
        "failed",
        "what a create without an answer made is not known: no right",
    )


def test_one_that_may_still_appear_is_left_for_later(ws: Workspace, cloud: Pausing) -> None:
    cloud.create_lag = 2 * MINUTE
    cut_off(ws, cloud)
    hidden = cloud.there.pop("h1")
    (found,) = lifecycle.reconcile(ws)
    assert (found.kind, found.name) == ("busy", "b")
    assert found.detail.endswith("run devbox reconcile again in 2m")
    assert ws.box("b").state is BoxState.PROVISIONING
    cloud.there["h1"] = hidden
    assert kinds(lifecycle.reconcile(ws)) == [("finished", "b")]


def test_one_that_never_appeared_is_given_up(ws: Workspace, cloud: Pausing) -> None:
    cut_off(ws, cloud)
    cloud.there.clear()
    (found,) = lifecycle.reconcile(ws)
    assert (found.kind, found.detail) == ("given-up", "it was never created; nothing was billed")
    assert ws.box("b").state is BoxState.TERMINATED


def test_one_that_failed_once_it_was_made_is_not_made_again(ws: Workspace, cloud: Pausing) -> None:
    cloud.stages = [{"state": BoxState.FAILED, "message": "exit 1"}]
    with pytest.raises(BuildFailed):
        lifecycle.up(ws, "b")
    cloud.calls.clear()
    (found,) = lifecycle.reconcile(ws)
    assert found.kind == "failed"
    assert found.detail.startswith("running: exit 1; ")
    assert "create" not in cloud.calls
    assert ws.store.boxes.open_intents() == []


def test_what_was_ended_meanwhile_is_finished(ws: Workspace, cloud: Pausing) -> None:
    cloud.stages = [{"state": BoxState.STARTING}]
    ws.start_timeout = MINUTE
    with pytest.raises(DevboxError):
        lifecycle.up(ws, "b")
    cloud.terminate("h1")
    (found,) = lifecycle.reconcile(ws)
    assert (found.kind, found.detail) == ("finished", "running: now terminated")


@pytest.mark.parametrize("bills", [True, False])
def test_machines_of_the_users_are_each_asked_though_one_is_silent(
    home: Path, cloud: Pausing, bills: bool
) -> None:
    """A provider that bills is one service: who is silent once is not waited for again."""
    cloud.bills = bills
    ws = a_project(home, cloud, toml=COMMAND + COMMAND.replace("boxes.b", "boxes.c"))
    cloud.stages = [{"state": BoxState.STARTING}]
    ws.start_timeout = MINUTE
    for name in ("b", "c"):
        with pytest.raises(DevboxError):
            lifecycle.up(ws, name)
    cloud.show("h2", state=BoxState.RUNNING)
    cloud.fail("observe", Unavailable("no answer"), times=6)
    found = lifecycle.reconcile(ws)
    first = "failed" if bills else "finished"
    assert kinds(found)[:2] == [("failed", "b"), (first, "c")]
    assert (("failed", "-") in kinds(found)) is bills


def test_a_watchdog_that_cannot_be_asked_is_told(home: Path, cloud: Pausing) -> None:
    ws = a_project(home, cloud, toml='[boxes.b]\nprovider = "local"\n')
    box = lifecycle.up(ws, "b", wait=False)
    for goal in ws.store.boxes.open_intents():
        ws.store.boxes.finish(goal.id, "running", ws.clock())
    cloud.show(box.handle, endpoint=Endpoint("127.0.0.1", 1))
    (found,) = lifecycle.reconcile(ws)
    assert (found.kind, found.detail) == ("silent", "its watchdog could not be asked")
    assert ws.box("b").state is BoxState.RUNNING


def test_another_devbox_is_at_it(ws: Workspace, cloud: Pausing) -> None:
    box = lifecycle.up(ws, "b", wait=False)
    with working_on(ws, box):
        (found,) = lifecycle.reconcile(ws)
    assert found.kind == "busy"
    assert "another devbox is working on b right now" in found.detail


def stranger(ws: Workspace, cloud: Pausing) -> None:
    lifecycle.up(ws, "b")
    forget_rows(ws)


def test_what_nobody_tracks_is_listed_and_counts_in_budgets(ws: Workspace, cloud: Pausing) -> None:
    stranger(ws, cloud)
    for price in (3_600_000, None):
        (found,) = lifecycle.reconcile(ws)
        assert (found.kind, found.name) == ("stranger", "b (h1, running)")
        assert found.detail == "carries our tag; devbox reconcile --adopt or --remove"
        (counted,) = ws.store.budgets.untracked(0.0)
        assert counted.price.micro_per_hour == price
        cloud.fail("offers", AuthError("no list"))
    told_of = [e.message for e in ws.store.events.of_box("") if e.kind == "orphan"]
    assert told_of[0] == "b (h1, running) at local carries our tag and may cost"


def test_what_nobody_tracks_is_removed(ws: Workspace, cloud: Pausing) -> None:
    stranger(ws, cloud)
    cloud.fail("terminate", ProviderError("not now"))
    (found,) = lifecycle.reconcile(ws, wanted="remove")
    assert (found.kind, found.detail) == ("failed", "not now")
    (found,) = lifecycle.reconcile(ws, wanted="remove")
    assert (found.kind, found.detail) == ("removed", "end requested")
    assert cloud.there["h1"].state is BoxState.TERMINATED


@pytest.mark.parametrize("state", [BoxState.RUNNING, BoxState.PAUSED])
def test_what_nobody_tracks_is_adopted_as_it_is(
    ws: Workspace, cloud: Pausing, state: BoxState
) -> None:
    stranger(ws, cloud)
    cloud.show("h1", state=state)
    (found,) = lifecycle.reconcile(ws, wanted="adopt")
    assert (found.kind, found.name, found.detail) == ("adopted", "b", f"now {state}")
    box = ws.box("b")
    assert (box.handle, box.state, box.price) == ("h1", state, UNKNOWN_PRICE)
    assert ws.store.boxes.open_intents() == []
    assert lifecycle.reconcile(ws) == []


def test_an_adopted_one_gets_a_free_name(ws: Workspace, cloud: Pausing) -> None:
    stranger(ws, cloud)
    cloud.show("h1", state=BoxState.PAUSED)
    cloud.hidden.add("h1")
    lifecycle.up(ws, "b")
    cloud.hidden.clear()
    (found,) = lifecycle.reconcile(ws, wanted="adopt")
    assert found.name.startswith("b-")
    assert ws.box(found.name).handle == "h1"
    assert ws.box("b").handle == "h2"


def test_a_second_one_of_a_box_is_told_from_the_box(ws: Workspace, cloud: Pausing) -> None:
    """A box may go by another handle than the one that is on record."""
    box = lifecycle.up(ws, "b")
    seen = cloud.there["h1"]
    cloud.there["h2"] = seen._replace(handle="h2")
    (found,) = lifecycle.reconcile(ws)
    assert (found.kind, found.name) == ("stranger", "b (h2, running)")
    assert found.detail == "is a second one of b; devbox reconcile --adopt or --remove"
    cloud.there = {"h1": seen._replace(handle="h2")}
    assert lifecycle.untracked(ws, "local") == []
    assert ws.box("b").id == box.id


def test_what_outlives_its_box_is_nobodys(ws: Workspace, cloud: Pausing) -> None:
    cloud.find_lag = MINUTE
    box = lifecycle.down(ws, lifecycle.up(ws, "b"))
    again = cloud.there["h1"]._replace(handle="h2", state=BoxState.RUNNING)
    cloud.there["h2"] = again
    assert [seen.handle for seen in lifecycle.untracked(ws, "local")] == ["h2"]
    cloud.there = {"h1": again._replace(handle=box.handle)}
    assert lifecycle.untracked(ws, "local") == [], "its listing is old"
    cloud.clock.advance(2 * MINUTE)
    assert [seen.handle for seen in lifecycle.untracked(ws, "local")] == ["h1"]

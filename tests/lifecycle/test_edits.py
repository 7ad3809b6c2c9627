"""devbox.toml edited after the first `up`: what a box can follow it follows, and the rest is named;
without a real box."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from devbox import lifecycle, paths
from devbox.errors import Conflict, DevboxError, ProviderError
from devbox.lifecycle import respec
from devbox.model import Box, BoxState, Endpoint, Hardware, Offer, Price
from devbox.remote.config import ssh_config
from devbox.spec import BoxSpec, decode_box
from devbox.workspace import Workspace
from tests.boxes import rewrite
from tests.lifecycle.cloud import COMMAND, REACHED, Pausing, a_project, operation, told

SMALL, LARGE = 3_600_000, 36_000_000  # micro-dollars an hour


@pytest.fixture
def ws(home: Path, cloud: Pausing) -> Workspace:
    return a_project(home, cloud, toml=COMMAND + 'hardware = "small"\n')


def prices(ws: Workspace, box: Box) -> list[int | None]:
    """Of each interval, in micro-dollars an hour."""
    return [each.price.micro_per_hour for each in ws.store.ledger.of_box(box.id)]


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        ('env = {A = "1"}', "env differs"),
        ('workdir = "code"', "workdir is work, not code"),
        ('max_uptime = "9h"', "max_uptime is 8h"),
        ('secrets = {K = "env:K"}', "secrets differs"),
        ('provider = "docker"', "provider is local, not docker"),
    ],
)
def test_what_a_box_cannot_follow_is_refused_by_name(
    home: Path, cloud: Pausing, edit: str, named: str
) -> None:
    box = lifecycle.up(a_project(home, cloud), "b")
    toml = COMMAND.replace('provider = "local"\n', "") if "provider" in edit else COMMAND
    ws = a_project(home, cloud, toml=f"{toml}{edit}\n")
    with pytest.raises(Conflict) as caught:
        lifecycle.up(ws, "b")
    assert named in caught.value.what
    assert caught.value.fix == "devbox down b && devbox up b"
    assert ws.box("b").state is BoxState.RUNNING
    lifecycle.pause(ws, box)
    with pytest.raises(Conflict, match=named) as caught:
        lifecycle.up(ws, "b")
    assert caught.value.means == "nothing was started"
    assert "devbox resume b" in caught.value.fix
    assert ws.box("b").state is BoxState.PAUSED
    assert lifecycle.resume(ws, ws.box("b")).state is BoxState.RUNNING


def test_nothing_of_a_secret_is_told(
    home: Path, cloud: Pausing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("K", "hunter2")
    lifecycle.up(a_project(home, cloud), "b")
    with pytest.raises(Conflict) as caught:
        lifecycle.up(a_project(home, cloud, toml=COMMAND + 'secrets = {K = "env:K"}\n'), "b")
    assert "env:K" not in caught.value.render()
    assert "hunter2" not in caught.value.render()


def test_a_box_that_was_never_made_takes_the_new_spec(home: Path, cloud: Pausing) -> None:
    ws = a_project(home, cloud, toml=COMMAND + 'secrets = {K = "env:NO_SUCH"}\n')
    with pytest.raises(DevboxError, match="NO_SUCH"):
        lifecycle.up(ws, "b")
    assert "create" not in cloud.calls
    box = lifecycle.up(a_project(home, cloud, toml=COMMAND + 'env = {A = "1"}\n'), "b")
    assert box.state is BoxState.RUNNING
    assert decode_box(box.spec).env == {"A": "1"}


def test_an_edit_is_followed_at_the_next_resume(home: Path, ws: Workspace, cloud: Pausing) -> None:
    lifecycle.pause(ws, lifecycle.up(ws, "b"))
    ws = a_project(home, cloud, toml=COMMAND + 'hardware = "large"\n')
    lines = told(ws)
    box = lifecycle.up(ws, "b")
    assert (box.hardware, prices(ws, box)) == ("large", [SMALL, LARGE])
    assert lines[:2] == [
        "b: from now on large at $36.00/h (live)",
        "b: follows devbox.toml in hardware",
    ]
    assert "follows devbox.toml in hardware" in [
        event.message for event in ws.store.events.of_box(box.id) if event.kind == "spec"
    ]


def test_an_edit_that_chooses_the_same_hardware_is_taken_without_a_word(
    home: Path, ws: Workspace, cloud: Pausing
) -> None:
    lifecycle.up(ws, "b")
    ws = a_project(home, cloud, toml=COMMAND + "max_price = 10.0\n")
    lines = told(ws)
    box = lifecycle.up(ws, "b")
    assert lines == ["b is up already"]
    assert decode_box(box.spec).max_price == 10.0
    assert [event.kind for event in ws.store.events.of_box(box.id)].count("spec") == 0


def test_a_region_of_a_paused_box_changes_its_price(
    ws: Workspace, cloud: Pausing, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = lifecycle.pause(ws, lifecycle.up(ws, "b"))
    monkeypatch.setattr(Pausing, "resume_takes", frozenset({"region"}))

    def offers_for(wanted: BoxSpec) -> list[Offer]:
        price = Price(SMALL * 2 if wanted.region == "eu" else SMALL)
        return [Offer("local", Hardware("small"), price, 0.0, region=wanted.region)]

    monkeypatch.setattr(cloud, "offers_for", offers_for)
    wanted = msgspec.structs.replace(decode_box(box.spec), region="eu")
    found = respec.compare(operation(ws), wanted)
    assert found.offer is not None
    assert (found.taken, found.offer.price.micro_per_hour) == (("region",), 2 * SMALL)
    assert found.left == ()


def test_hardware_of_a_running_box_is_left_to_resize(
    home: Path, ws: Workspace, cloud: Pausing
) -> None:
    lifecycle.up(ws, "b")
    ws = a_project(home, cloud, toml=COMMAND + 'hardware = "large"\n')
    with pytest.raises(Conflict, match="hardware is small, not large") as caught:
        lifecycle.up(ws, "b")
    assert caught.value.fix == "devbox resize b large"
    assert caught.value.means == "b is running as it was made"


def test_a_shared_connection_ends_when_the_agent_is_to_be_forwarded(
    home: Path, cloud: Pausing
) -> None:
    """It would keep what it was opened with."""
    ws = a_project(home, cloud, toml=REACHED)
    box = lifecycle.up(ws, "b", wait=False)
    placed = msgspec.structs.replace(box, endpoint=Endpoint("box.test"))
    rewrite(ws.store, placed)
    ssh_config.publish(ws.store.boxes.all)
    config = paths.ssh_config()
    assert "ForwardAgent yes" not in config.read_text()
    wanted = msgspec.structs.replace(decode_box(box.spec), forward_agent=True)
    op = operation(ws)
    respec.take(op, respec.compare(op, wanted))
    assert "ForwardAgent yes" in config.read_text()
    assert ws.box("b").spec == op.box.spec != box.spec


def test_a_box_that_was_never_made_is_dropped_with_or_without_a_goal(
    ws: Workspace, cloud: Pausing
) -> None:
    for finish in (False, True):
        cloud.fail("create", ProviderError("no quota"))
        with pytest.raises(ProviderError):
            lifecycle.up(ws, "b")
        op = operation(ws)
        if finish and (goal := op.open_goal()):
            ws.store.boxes.finish(goal.id, "refused", ws.clock())
        assert respec.is_unmade(op)
        respec.drop(op)
        assert ws.store.boxes.all() == []
        assert ws.store.boxes.open_intents() == []
        assert op.box.message == "devbox.toml changed before it was created"

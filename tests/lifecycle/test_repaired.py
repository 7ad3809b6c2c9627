"""A damaged record, mended or made again from what the providers have: without a real box."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from devbox import lifecycle, paths, spec
from devbox.errors import AuthError
from devbox.model import Box
from devbox.providers import registry
from devbox.workspace import Workspace
from tests.boxes import rewrite
from tests.lifecycle.cloud import COMMAND, HOUR, Cloud, Pausing, a_project


@pytest.fixture
def ws(home: Path, cloud: Pausing) -> Workspace:
    return a_project(home, cloud)


def spoil(ws: Workspace, box: Box, body: bytes) -> None:
    with ws.store.database.write() as connection:
        connection.execute("UPDATE boxes SET body = ? WHERE id = ?", (body, box.id))


@pytest.fixture
def two_providers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "NAMES", ("local", "docker"))


@pytest.mark.usefixtures("two_providers")
def test_a_record_that_cannot_be_read_is_made_again_from_its_provider(
    home: Path, cloud: Pausing
) -> None:
    docker = Cloud("docker", cloud.clock)
    docker.fail("find", AuthError("no engine"), times=9)
    ws = a_project(home, cloud, docker)
    assert lifecycle.repair(ws) == []
    box = lifecycle.up(ws, "b")
    cloud.clock.advance(HOUR)
    spoil(ws, box, b"\x00")
    done = lifecycle.repair(ws)
    copy = paths.home() / f"damaged-{box.id}.json"
    assert done == [
        f"b: its record cannot be mended; it is kept as {copy}",
        "docker: not asked: no engine",
        "local b: adopted: now running",
        "b: its box was found at local and is tracked again",
    ]
    assert copy.read_bytes() == b"\x00"
    first = ws.store.ledger.of_box(ws.box("b").id)[0]
    assert ws.clock() - first.start == HOUR, "what it has cost stays"


@pytest.mark.usefixtures("two_providers")
def test_a_record_of_a_box_that_nobody_has_is_dropped(home: Path, cloud: Pausing) -> None:
    """A provider that was used is told of when it cannot be asked."""
    docker = Cloud("docker", cloud.clock)
    ws = a_project(home, cloud, docker)
    box = lifecycle.up(ws, "b")
    elsewhere = COMMAND.replace("local", "docker").replace("boxes.b", "boxes.c")
    lifecycle.up(a_project(home, cloud, docker, toml=elsewhere), "c")
    cloud.there.clear()
    docker.fail("find", AuthError("no engine"), times=9)
    spoil(ws, box, b"\x00")
    done = lifecycle.repair(ws)
    assert done[1] == "docker -: failed: no engine"
    assert done[2].startswith("b: no provider that could be asked has it; it is no longer tracked")
    assert done[2].endswith("devbox reconcile --adopt")
    assert [each.name for each in ws.store.boxes.all()] == ["c"]


def test_a_record_of_which_a_part_cannot_be_read_is_mended(ws: Workspace, cloud: Pausing) -> None:
    box = lifecycle.up(ws, "b")
    rewrite(ws.store, msgspec.structs.replace(box, spec=b'{"max_uptime": "long", "image": "cpu"}'))
    damaged = ws.store.boxes.raw(box.id)["body"]
    copy = paths.home() / f"damaged-{box.id}.json"
    assert lifecycle.repair(ws) == [f"b: its record was mended; the damaged one is kept as {copy}"]
    assert copy.read_bytes() == damaged
    assert spec.decode_box(ws.box("b").spec) == spec.BoxSpec(image="cpu")
    assert lifecycle.repair(ws) == []

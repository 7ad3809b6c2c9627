"""Many boxes against a provider that allows few requests: waited for, never hammered."""

from __future__ import annotations

import uuid

import msgspec

from devbox import lifecycle
from devbox.model import BoxState
from tests.boxes import request_for
from tests.faults.conftest import MakeWorld, workspace
from tests.faults.worlds import JobWorld

MANY, QUOTA, WINDOW = 12, 10, 20.0


def test_a_refresh_keeps_to_the_hubs_limit(make_world: MakeWorld) -> None:
    world = make_world("hf-job")
    assert isinstance(world, JobWorld)
    world.disarm(everything=True)
    ws = workspace(world)
    first = lifecycle.up(ws, "b")
    for index in range(MANY - 1):
        name = f"x{index}"
        wanted = msgspec.structs.replace(ws.spec.boxes["b"], image="cpu")
        asked = request_for(name, wanted, token=f"{name}-{uuid.uuid4().hex[:8]}")
        handle = ws.provider("hf-job").create(asked._replace(hardware="t4-small"))
        box = msgspec.structs.replace(first, id=name, name=name, token=asked.token, handle=handle)
        ws.store.boxes.finish(ws.store.boxes.insert(box, "running", {}, 1.0), "running", 1.0)
    world.advance(60)
    world.hub.limit_rate(QUOTA, WINDOW)
    before, began = len(world.calls.records), world.clock.now()
    boxes = lifecycle.refresh(ws, ws.store.boxes.all())
    assert len(boxes) == MANY
    assert {box.state for box in boxes} == {BoxState.RUNNING}
    assert not [box for box in boxes if box.unreachable]
    asked_for = [call.outcome for call in world.calls.records[before:]]
    assert asked_for.count("429") <= MANY - QUOTA + 2
    assert world.clock.now() - began >= WINDOW / 2

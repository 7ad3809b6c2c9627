"""A change that the Hub refuses leaves the box as it was, and says what it is and costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from devbox import lifecycle, spec
from devbox.errors import AuthError, BudgetError, DevboxError, NotFound
from devbox.model import BoxState
from devbox.spec import Budget
from devbox.workspace import Workspace
from tests.emulators.common import Fault
from tests.emulators.hf import HfEmulator

RUNS = "train still runs on t4-small and costs $0.40/h"


@pytest.fixture
def ws(hub: HfEmulator, project: Callable[..., Path]) -> Iterator[Workspace]:
    made = Workspace.open(project("hf-space"))
    yield made
    for box in made.store.boxes.all():
        lifecycle.down(made, box, save=False)
    made.store.close()


def test_hardware_that_is_refused_is_undone(hub: HfEmulator, ws: Workspace) -> None:
    box = lifecycle.up(ws, "train")
    hub.knobs.set("request_hardware", Fault.payment_required())
    with pytest.raises(AuthError) as caught:
        lifecycle.resize(ws, box, "l4x1", save=False)
    assert caught.value.means == RUNS
    after = ws.box("train")
    assert spec.decode_box(after.spec).hardware == "t4-small"
    assert after.hardware == "t4-small"
    assert hub.spaces[box.handle].variables["DEVBOX_HARDWARE"].value == "t4-small"
    assert ws.store.boxes.open_intents() == []
    assert len(hub.meter.intervals(box.handle)) == 1  # it was not even restarted
    assert lifecycle.resize(ws, after, "l4x1", save=False).hardware == "l4x1"
    assert hub.spaces[box.handle].variables["DEVBOX_HARDWARE"].value == "l4x1"


def test_hardware_that_cannot_be_had_says_what_runs(hub: HfEmulator, ws: Workspace) -> None:
    box = lifecycle.up(ws, "train")
    with pytest.raises(NotFound) as unknown:
        lifecycle.resize(ws, box, "no-such", save=False)
    ws.spec = msgspec.structs.replace(ws.spec, budget=Budget(daily=0.01))
    with pytest.raises(BudgetError) as dear:
        lifecycle.resize(ws, box, "l4x1", save=False)
    assert [unknown.value.means, dear.value.means] == [RUNS, RUNS]


def test_a_restart_that_is_refused_says_what_runs(hub: HfEmulator, ws: Workspace) -> None:
    box = lifecycle.up(ws, "train")
    hub.knobs.set("restart", Fault.payment_required())
    with pytest.raises(AuthError) as caught:
        lifecycle.restart(ws, box, save=False)
    assert caught.value.means == RUNS
    assert ws.store.boxes.open_intents() == []


def test_a_resume_that_is_refused_leaves_it_paused(hub: HfEmulator, ws: Workspace) -> None:
    box = lifecycle.pause(ws, lifecycle.up(ws, "train"), save=False)
    hub.knobs.set("restart", Fault.payment_required())
    with pytest.raises(AuthError) as caught:
        lifecycle.resume(ws, box)
    assert caught.value.means == "train is paused: it costs nothing now"
    assert ws.store.boxes.open_intents() == []
    assert lifecycle.resume(ws, ws.box("train")).state is BoxState.RUNNING


def test_a_create_that_is_refused_says_what_is_there(hub: HfEmulator, ws: Workspace) -> None:
    hub.knobs.set("request_hardware", Fault.payment_required())
    with pytest.raises(DevboxError) as caught:
        lifecycle.up(ws, "train")
    assert "it costs nothing now" in caught.value.means
    assert hub.meter.billing() == []


def test_a_change_whose_outcome_is_unknown_stays_open(hub: HfEmulator, ws: Workspace) -> None:
    box = lifecycle.up(ws, "train")
    ws.sleep = lambda _: None
    hub.knobs.set("request_hardware", Fault.server_error(), times=6)
    with pytest.raises(DevboxError) as caught:
        lifecycle.resize(ws, box, "l4x1", save=False)
    assert caught.value.means == RUNS
    assert [i.goal for i in ws.store.boxes.open_intents()] == ["running"]

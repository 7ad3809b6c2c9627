"""When a box ended that nobody watched ending."""

from __future__ import annotations

from pathlib import Path

import pytest

from devbox import lifecycle
from devbox.model import BoxState
from devbox.workspace import Workspace


class Crash(BaseException):
    """The process is gone."""


@pytest.fixture
def ws(home: Path) -> Workspace:
    folder = home / "project"
    folder.mkdir()
    (folder / "devbox.toml").write_text("[boxes.b]\n[providers.local]\nprice = 1.0\n")
    return Workspace.open(folder)


def test_an_end_found_an_hour_after_a_crash_is_billed_to_when_it_was_asked_for(
    ws: Workspace,
) -> None:
    box = lifecycle.up(ws, "b")

    def crash(step: str, phase: str) -> None:
        if (step, phase) == ("terminate", "after"):
            raise Crash

    ws.on_step = crash
    with pytest.raises(Crash):
        lifecycle.down(ws, box)
    asked, real = ws.clock(), ws.clock
    ws.on_step, ws.clock = (lambda *_: None), (lambda: real() + 3600)
    assert [f.kind for f in lifecycle.reconcile(ws)] == ["finished"]
    assert ws.box("b").state is BoxState.TERMINATED
    (interval,) = ws.store.ledger.of_box(box.id)
    assert interval.end is not None
    assert asked - 20 < interval.end <= asked

"""What a box's watchdog does reaches the user's record, and an announced pause saves files."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devbox import lifecycle
from devbox.model import BoxState
from devbox.remote import command
from devbox.workspace import Workspace

pytestmark = pytest.mark.real_time

# This whole machine counts as the box, so its other work must not.
TOML = """\
[boxes.b]
[boxes.b.idle]
after = "20s"
warn = "15s"
cpu_util = 1000
net_bytes = "1TB"
[boxes.b.sync]
down = ["results/"]
"""


@pytest.fixture
def ws(home: Path) -> Iterator[Workspace]:
    folder = home / "project"
    folder.mkdir()
    (folder / "devbox.toml").write_text(TOML)
    workspace = Workspace.open(folder)
    yield workspace
    for box in workspace.store.boxes.all():
        lifecycle.down(workspace, box, save=False)


def until(condition: Callable[[], bool], seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
def test_an_idle_box_warns_is_rescued_pauses_itself_and_says_so_afterwards(
    ws: Workspace, home: Path
) -> None:
    told: list[str] = []
    ws.narrate = told.append
    box = lifecycle.up(ws, "b")
    make = ["sh", "-c", "mkdir -p work/results && echo 42 > work/results/answer.txt"]
    subprocess.run(command.argv(box, make), check=True)
    with lifecycle.save_on_warning(ws, box):
        until((home / "project" / "results" / "answer.txt").exists)
    until(lambda: lifecycle.refresh(ws, [box])[0].state is BoxState.PAUSED)
    assert any("pause" in line for line in told)
    interval = ws.store.ledger.of_box(box.id)[-1]
    assert interval.end is not None
    lifecycle.resume(ws, ws.box("b"))
    kinds = [event.kind for event in ws.store.events.of_box(box.id)]
    assert "warning" in kinds
    assert "pausing" in kinds
    assert kinds.count("warning") == 1

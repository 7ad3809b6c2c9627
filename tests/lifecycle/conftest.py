"""A project with one local box."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from devbox import lifecycle
from devbox.workspace import Workspace


@pytest.fixture
def ws(home: Path) -> Iterator[Workspace]:
    folder = home / "project"
    folder.mkdir()
    (folder / "devbox.toml").write_text("[boxes.b]\n")
    workspace = Workspace.open(folder)
    yield workspace
    workspace.on_step = lambda *_: None
    for box in workspace.store.boxes.all():
        lifecycle.down(workspace, box, save=False)
    workspace.store.close()

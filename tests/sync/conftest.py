"""A running local box whose project folder is synced."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from devbox import spec
from devbox.model import Box
from devbox.sync import rsync
from devbox.sync.rsync import Options, Report
from devbox.wire.codec import encode
from devbox.workspace import Workspace
from tests.boxes import MakeBox, local_box, local_workspace, make_local_box

__all__ = ["local_box", "local_workspace", "make_local_box"]


class Pair(NamedTuple):
    """here: the local folder. there: the same on the box (its home/work)."""

    ws: Workspace
    box: Box
    here: Path
    there: Path
    said: list[str]

    def up(self, **options: object) -> Report:
        return rsync.up(self.ws, self.box, Options(**options))  # type: ignore[arg-type]

    def down(self, **options: object) -> Report:
        return rsync.down(self.ws, self.box, Options(**options))  # type: ignore[arg-type]


MakePair = Callable[..., Pair]


@pytest.fixture
def make_pair(local_workspace: Workspace, make_local_box: MakeBox) -> MakePair:
    """make_pair(**Sync fields) → a Pair with nothing synced yet."""

    def make(**fields: object) -> Pair:
        box = make_local_box("b", sync=spec.Sync(**fields))  # type: ignore[arg-type]
        said: list[str] = []
        local_workspace.narrate = said.append
        local_workspace.sleep = lambda _: None
        root = Path(local_workspace.spec.root)
        home = Path(os.environ["DEVBOX_HOME"]) / "local" / box.token / "home"
        return Pair(local_workspace, box, root, home / "work", said)

    return make


@pytest.fixture
def pair(make_pair: MakePair) -> Pair:
    return make_pair()


def write(path: Path, content: str, *, age: float = 0.0) -> Path:
    """A file last changed `age` seconds ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    when = time.time() - age
    os.utime(path, (when, when))
    return path


def files(folder: Path) -> dict[str, str]:
    """Relative path → content of everything under a folder; a symlink's is '-> target'."""
    out: dict[str, str] = {}
    for at, folders, names in os.walk(folder):
        for name in [*names, *(f for f in folders if (Path(at) / f).is_symlink())]:
            path = Path(at) / name
            text = f"-> {path.readlink()}" if path.is_symlink() else path.read_text()
            out[str(path.relative_to(folder))] = text
    return out


def by_the_box(verb: str, request: NamedTuple, python: Sequence[str] = ("python3",)) -> bytes:
    """What the box half of this checkout answers to `files VERB`."""
    done = subprocess.run(
        [*python, "-S", "-m", "devbox.box", "files", verb],
        cwd=Path(__file__).parents[2],
        input=encode(request),
        capture_output=True,
        check=True,
    )
    return done.stdout

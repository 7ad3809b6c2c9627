"""What a project says it needs, as the setup line that installs it. Offered, never run unasked."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import NamedTuple

from devbox.model import Box
from devbox.spec import BoxSpec
from devbox.workspace import Workspace

_LINES = {
    "uv.lock": "python3 -m pip install uv && uv sync",
    "requirements.txt": "python3 -m pip install -r requirements.txt",
    "environment.yml": "conda env update --file environment.yml",
    "pyproject.toml": "python3 -m pip install -e .",
}
_EVENT = "setup-offer"


class Offer(NamedTuple):
    """A file of the project, and the command that installs what it names."""

    file: str
    line: str

    def sentence(self, box: str) -> str:
        """What to add to devbox.toml."""
        return (
            f"{self.file} is not installed on boxes by itself; to have that done once on each new "
            f"disk, add to [boxes.{box}]: setup = [{_quoted(self.line)}]"
        )


def find(folder: Path) -> Offer | None:
    """For the first file there is, the most exact first: a lock before what it was made from."""
    for name, line in _LINES.items():
        if (folder / name).is_file() and (name != "pyproject.toml" or _installs(folder / name)):
            return Offer(name, line)
    return None


def tell_once(ws: Workspace, box: Box, wanted: BoxSpec) -> None:
    """Say it for a box without setup lines, once in its life."""
    if wanted.setup or wanted.command or not box.root:
        return
    told = any(event.kind == _EVENT for event in ws.store.events.of_box(box.id, limit=1000))
    offer = None if told else find(Path(box.root, wanted.sync.path))
    if offer:
        ws.narrate(f"{box.name}: {offer.sentence(box.name)}")
        ws.store.events.add(box.id, _EVENT, f"told of {offer.file}", ws.clock())


def _installs(file: Path) -> bool:
    """Whether it is a package, and not only settings of tools."""
    try:
        found = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return "project" in found or "build-system" in found


def _quoted(line: str) -> str:
    return '"' + line.replace("\\", "\\\\").replace('"', '\\"') + '"'

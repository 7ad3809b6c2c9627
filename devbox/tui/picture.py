"""Pictures of the screen as SVG: they ask no other machine for a font, and are saved under
DEVBOX_HOME, never in the project."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from devbox import paths
from devbox.files import write_atomic

if TYPE_CHECKING:
    from textual.app import App

FOLDER = "screenshots"
# Textual's pictures fetch their font from a public host
_FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def svg(app: App[None], title: str = "devbox") -> str:
    """The screen as it is, in a font of the machine that shows it."""
    return _FONT.sub("", app.export_screenshot(title=title))


def save(app: App[None], now: float) -> Path:
    """Where it was saved: named by the time, and beside those of the same second."""
    name = time.strftime("devbox-%Y-%m-%d-%H%M%S", time.localtime(now))
    folder = paths.home() / FOLDER
    taken = {path.name for path in folder.glob(f"{name}*.svg")}
    file = next(f for n in range(1000) if (f := f"{name}{f'-{n}' if n else ''}.svg") not in taken)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / file, svg(app))
    return folder / file

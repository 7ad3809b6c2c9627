"""The dashboard on the tests' busy fleet, as a program: python -m tests.tui.shown."""

from __future__ import annotations

from pathlib import Path

from devbox.tui.app import Dashboard
from devbox.tui.settings import Settings
from tests.tui import fakes, fleets

if __name__ == "__main__":
    asks = fakes.FakeAsks(Path.cwd())
    asks.log_lines = fleets.BUSY_LOG
    app = Dashboard(fleets.busy(), asks, fakes.FakeOperations(), Settings())  # type: ignore[arg-type]
    app.run()

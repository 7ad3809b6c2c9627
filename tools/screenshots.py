"""Screenshots of the dashboard for the README and docs/dashboard.md: `make screenshots`.

Most are of real local boxes on this machine, with a real run of the `track` job. The picture of
GPUs is of the tests' made-up fleet, since few machines have eight of them; its caption says so.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from textual.pilot import Pilot

    from devbox.model import Run
    from devbox.tui.app import Dashboard

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "images"
TOML = """
[boxes.train]
[boxes.train.sync]
down = ["results/"]
[boxes.render]
[boxes.notebook]
[providers.local]
price = 0.60
"""


async def main() -> None:
    from devbox import lifecycle
    from devbox.workspace import Workspace

    FOLDER.mkdir(parents=True, exist_ok=True)
    await _made_up()
    with tempfile.TemporaryDirectory(prefix="dbx", dir="/tmp") as home:
        os.environ["HOME"], os.environ["DEVBOX_HOME"] = home, f"{home}/.devbox"
        project = Path(home) / "project"
        project.mkdir()
        (project / "devbox.toml").write_text(TOML)
        ws = Workspace.open(project)
        try:
            for name in ws.spec.boxes:
                await asyncio.to_thread(lifecycle.up, ws, name)
            await asyncio.to_thread(lifecycle.pause, ws, ws.box("notebook"))
            await _real(project)
        finally:
            for box in ws.store.boxes.all():
                await asyncio.to_thread(lifecycle.down, ws, box, save=False)


async def _made_up() -> None:
    from devbox.tui.app import Dashboard
    from devbox.tui.settings import Settings
    from tests.tui import fakes, fleets

    asks, operations = fakes.FakeAsks(ROOT), fakes.FakeOperations()
    asks.log_lines = fleets.BUSY_LOG
    app = Dashboard(fleets.fleet(), asks, operations, Settings())  # type: ignore[arg-type]
    async with app.run_test(size=(180, 50)) as pilot:
        await pilot.pause(0.5)
        app.fleet.go(app.fleet.keys.index("id-train"))
        await pilot.pause(2)
        app.clear_notifications()
        await pilot.pause(0.6)
        _save(app, "dashboard-load")


async def _real(project: Path) -> None:
    from devbox.jobs import demo_clip
    from devbox.tui.app import Dashboard
    from devbox.tui.live_feed import LiveFeed
    from devbox.tui.operation_manager import Operations
    from devbox.tui.queries import Asks
    from devbox.tui.settings import Settings

    clips = project / "clips"
    clips.mkdir()
    demo_clip.make(ROOT / "templates/demo/astronaut.jpg", clips / "take-1.mp4")
    for number in range(2, 9):
        shutil.copy(clips / "take-1.mp4", clips / f"take-{number}.mp4")
    (project / "train.py").write_text("import argparse\n\nargparse.ArgumentParser()\n")
    app = Dashboard(LiveFeed(project), Asks(project), Operations(project), Settings())
    async with app.run_test(size=(120, 30)) as pilot:
        person = Person(app, pilot)
        await person.until(lambda: len(app.fleet.keys) == 3 and app.view)
        ids = {view.box.name: view.box.id for view in app.feed.views}
        app.fleet.go(app.fleet.keys.index(ids["train"]))
        await person.jobs(clips)
        await person.dialogs()
        await app.action_quit()


class Person:
    """Goes through the dashboard and takes the pictures."""

    def __init__(self, app: Dashboard, pilot: Pilot[None]) -> None:
        self._app, self._pilot = app, pilot

    async def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 300
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError
            await self._pilot.pause(0.1)

    async def jobs(self, clips: Path) -> None:
        """Three runs, the last of them under way; then its log."""
        app, press = self._app, self._pilot.press
        await press("2")
        await self._run(["sh", "-c", "for n in 1 2 3; do echo epoch $n; done"])
        await self.until(self._is_over)
        await self._run(["python3", "train.py", "--epochs", "three"])
        await self.until(self._is_over)
        await self._run([f"--video={clips}"], "track")
        await self.until(lambda: app.view and app.feed.verdict(app.view.box.id))
        await self.until(lambda: self._newest and _share(self._newest) > 0.4)
        app.jobs_pane.grid.go(0)
        await self._save("dashboard-jobs")
        await self.until(self._is_over)
        await press("L")
        await self.until(lambda: app.logs_pane.view.lines)
        await self._pilot.pause(1)
        await self._save("dashboard-logs")
        (clips.parent / "eval.py").write_text("print('soon')\n")  # a run has sent the rest
        await press("escape", "5")
        await self.until(lambda: "eval.py" in app.sync_pane.text)
        await self._save("dashboard-sync")

    async def dialogs(self) -> None:
        app, press = self._app, self._pilot.press
        await press("r")
        await self.until(lambda: app.screen.query("#choices"))
        await press("enter")
        await self.until(lambda: app.screen.query("#fields"))
        await self._save("dashboard-form")
        await press("escape", "ctrl+d")
        await self.until(lambda: app.screen.query("#losses"))
        await self.until(lambda: "looking" not in str(app.screen.query_one("#losses").render()))
        await self._save("dashboard-terminate")
        await press("escape")

    @property
    def _newest(self) -> Run | None:
        view = self._app.view
        runs = self._app.feed.runs(view.box.id) if view else ()
        return runs[0].run if runs else None

    def _is_over(self) -> bool:
        return self._newest is not None and self._newest.state.is_over

    async def _run(self, words: list[str], job: str = "") -> None:
        named = [job] if job else []
        begun = self._app.operations.start(
            f"run {job}", "train", "run", *named, "--box", "train", "--detach", "--", *words
        )
        await self.until(lambda: begun.state == "done")

    async def _save(self, name: str) -> None:
        self._app.clear_notifications()
        await self._pilot.pause(0.6)
        _save(self._app, name)


def _share(run: Run) -> float:
    """How much of it is done."""
    from devbox.jobs import status

    done, total = status.of(run).progress
    return done / total if total else 0.0


def _save(app: Dashboard, name: str) -> None:
    from devbox.tui import picture

    (FOLDER / f"{name}.svg").write_text(picture.svg(app, "devbox ui"))
    print(FOLDER / f"{name}.svg", file=sys.stderr)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    asyncio.run(main())
